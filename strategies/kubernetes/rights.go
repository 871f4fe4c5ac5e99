package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

func (r Right) String() string { return r.Verb + " " + r.Resource + " in " + r.Namespace }

// Review asks the API server which of the rights that are needed this process
// has (SelfSubjectAccessReview; everybody may ask that about himself).
func (k *Kubernetes) Review(ctx context.Context) ([]Right, error) {
	a, err := connect(&k.cfg)
	if err != nil {
		return nil, err
	}
	defer a.close()
	namespaces, err := k.namespaces(a)
	if err != nil {
		return nil, err
	}
	client, err := a.client(authorizationv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	ctx, cancel := patience(ctx)
	defer cancel()
	var rights []Right
	for _, ns := range namespaces {
		for _, verb := range verbs {
			ask := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: verb, Group: groupOf(k.cfg.Resource), Resource: k.cfg.Resource, Namespace: apiNamespace(ns),
				},
			}}
			var answer authorizationv1.SelfSubjectAccessReview
			err := client.Post().Resource("selfsubjectaccessreviews").
				VersionedParams(&metav1.CreateOptions{}, parameters).Body(ask).Do(ctx).Into(&answer)
			if err != nil {
				return rights, fmt.Errorf("ask the API server for our rights: %w", classify(err))
			}
			rights = append(rights, Right{verb, k.cfg.Resource, ns, answer.Status.Allowed, answer.Status.Reason})
		}
	}
	return rights, nil
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

func groupOf(resource string) string {
	if resource == Pods {
		return ""
	}
	return "discovery.k8s.io"
}

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
