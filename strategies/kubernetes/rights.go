package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/starlingmesh/starling/discovery"
)

// verbs are what it takes to watch.
var verbs = []string{"get", "list", "watch"}

// Right is something the API server was asked whether we may.
type Right struct {
	Verb      string `json:"verb"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"` // "*" is all
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason,omitempty"`
}

// MissingRoleOf is the YAML of the Role that would grant those rights that lack, to the ServiceAccount "namespace/name"; an empty
// one is "default".
func (k *Kubernetes) MissingRoleOf(rights []Right, account string) string {
	var namespaces []string
	for _, r := range rights {
		if !r.Allowed && !slices.Contains(namespaces, r.Namespace) {
			namespaces = append(namespaces, r.Namespace)
		}
	}
	if len(namespaces) == 0 {
		return ""
	}
	return Role(k.cfg.Resource, namespaces, cmp.Or(account, namespaces[0]+"/default"))
}

func (r Right) String() string { return r.Verb + " " + r.Resource + " in " + r.Namespace }

// Review asks the API server which of the rights that are needed this process
// has, and which ServiceAccount, "namespace/name", it is to the server
// (SelfSubjectAccessReview, SelfSubjectReview; everybody may ask that about
// himself). The account is empty if it is none, or the server is older than 1.28.
func (k *Kubernetes) Review(ctx context.Context) (rights []Right, account string, err error) {
	a, err := connect(&k.cfg)
	if err != nil {
		return nil, "", err
	}
	defer a.close()
	namespaces, err := k.namespaces(a)
	if err != nil {
		return nil, "", err
	}
	client, err := a.client(authorization)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := patience(ctx)
	defer cancel()
	for _, ns := range namespaces {
		for _, verb := range verbs {
			right, err := review(ctx, client, Right{Verb: verb, Resource: k.cfg.Resource, Namespace: ns})
			if err != nil {
				return rights, "", fmt.Errorf("ask the API server for our rights: %w", classify(err))
			}
			rights = append(rights, right)
		}
	}
	return rights, whoAmI(ctx, a), nil
}

var (
	authorization  = schema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"}
	authentication = schema.GroupVersion{Group: "authentication.k8s.io", Version: "v1"}
)

func review(ctx context.Context, client *rest.RESTClient, r Right) (Right, error) {
	type attributes struct {
		Verb      string `json:"verb"`
		Group     string `json:"group"`
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
	}
	type spec struct {
		Attributes attributes `json:"resourceAttributes"`
	}
	var answer struct {
		Status struct {
			Allowed bool   `json:"allowed"`
			Reason  string `json:"reason"`
		} `json:"status"`
	}
	err := post(ctx, client, authorization, "SelfSubjectAccessReview",
		spec{attributes{r.Verb, groupOf(r.Resource), r.Resource, apiNamespace(r.Namespace)}}, &answer)
	r.Allowed, r.Reason = answer.Status.Allowed, answer.Status.Reason
	return r, err
}

// whoAmI is the ServiceAccount that the API server takes this process for, or empty.
func whoAmI(ctx context.Context, a *api) string {
	client, err := a.client(authentication)
	if err != nil {
		return ""
	}
	var answer struct {
		Status struct {
			UserInfo struct {
				Username string `json:"username"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	if err := post(ctx, client, authentication, "SelfSubjectReview", nil, &answer); err != nil {
		return "" // who reads the Role puts in what lacks
	}
	account, is := strings.CutPrefix(answer.Status.UserInfo.Username, "system:serviceaccount:")
	if !is {
		return ""
	}
	return strings.Replace(account, ":", "/", 1)
}

// post asks the API server for a review of some kind.
func post(ctx context.Context, client *rest.RESTClient, group schema.GroupVersion, kind string, spec, answer any) error {
	body, err := json.Marshal(struct {
		Version string `json:"apiVersion"`
		Kind    string `json:"kind"`
		Spec    any    `json:"spec,omitempty"`
	}{group.String(), kind, spec})
	if err != nil {
		return err
	}
	data, err := client.Post().Resource(strings.ToLower(kind)+"s").Body(body).
		SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON).Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(data, answer)
}

// Role is the YAML of what grants this strategy its rights in the namespaces,
// to be piped into kubectl apply. account is "namespace/name" of the
// ServiceAccount.
func Role(resource string, namespaces []string, account string) string {
	var b strings.Builder
	accountNS, accountName, _ := strings.Cut(account, "/")
	kind := "Role"
	if slices.Contains(namespaces, allNamespaces) {
		kind, namespaces = "ClusterRole", []string{allNamespaces}
	}
	for i, ns := range namespaces {
		at := ""
		if kind == "Role" {
			at = ", namespace: " + ns
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(&b, `apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]s
metadata: {name: starling-discovery%[2]s}
rules:
  - apiGroups: [%[3]q]
    resources: [%[4]s]
    verbs: [%[5]s]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]sBinding
metadata: {name: starling-discovery%[2]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[1]s, name: starling-discovery}
subjects:
  - {kind: ServiceAccount, name: %[6]s, namespace: %[7]s}
`, kind, at, groupOf(resource), resource, strings.Join(verbs, ", "), accountName, accountNS)
	}
	return b.String()
}

func groupOf(resource string) string { return kinds[resource].version.Group }

func apiNamespace(ns string) string {
	if ns == allNamespaces {
		return metav1.NamespaceAll
	}
	return ns
}

// Describe says how the strategy is set up, and which rights it needs.
func (k *Kubernetes) Describe() discovery.Description {
	c := &k.cfg
	where := strings.Join(c.Namespaces, " ")
	if where == "" {
		where = "its own"
	}
	return discovery.Description{
		Config: map[string]string{
			"resource": c.Resource, "services": strings.Join(c.Services, " "), "namespaces": where,
			"label_selector": c.LabelSelector, "field_selector": c.FieldSelector, "port": c.Port, "watchers": c.Watchers,
		},
		Rights: []string{strings.Join(verbs, ", ") + " " + c.Resource + " in the namespaces " + where},
	}
}
