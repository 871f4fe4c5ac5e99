package charttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/starlingmesh/starling/cmd/starling/config"
)

// TestTheServiceTellsOfPodsBeforeTheyAreReady: sidecars that wait for each other to become ready find each other by it.
func TestTheServiceTellsOfPodsBeforeTheyAreReady(t *testing.T) {
	eachExample(t, func(t *testing.T, _ string, files map[string]string, _ string) {
		s := one[*corev1.Service](t, objects(t, files)).Spec
		if s.ClusterIP != corev1.ClusterIPNone || !s.PublishNotReadyAddresses || s.Ports[0].Name != "starling" {
			t.Errorf("got %+v", s)
		}
	})
}

// TestTheSourceAsksForWhatThereIs: the Service, its port and the pods' labels, by each strategy.
func TestTheSourceAsksForWhatThereIs(t *testing.T) {
	eachExample(t, func(t *testing.T, name string, files map[string]string, _ string) {
		list := objects(t, files)
		service := one[*corev1.Service](t, list)
		for _, s := range readConfig(t, list).Discovery.Sources {
			switch o := s.Options.(type) {
			case *config.Kubernetes:
				label := "starlingmesh.github.io/cluster=" + service.Spec.Selector["starlingmesh.github.io/cluster"]
				if o.Port != "starling" || (o.LabelSelector != label && !slices.Equal(o.Services, []string{service.Name})) {
					t.Errorf("it asks for %+v", o)
				}
			case *config.DNS:
				if want := "_starling._tcp." + service.Name + ".shop.svc"; o.Names[0] != want {
					t.Errorf("it asks for %v, want %s", o.Names, want)
				}
			case *config.Gossip:
				if want := service.Name + ".shop.svc:7946"; o.Join[0] != want || o.Bind != ":7946" || len(service.Spec.Ports) != 2 {
					t.Errorf("it joins %v from %s, want %s", o.Join, o.Bind, want)
				}
			case *config.Static:
				if name != "static" {
					t.Errorf("a list in %s", name)
				}
			default:
				t.Errorf("%T", o)
			}
		}
	})
}

// TestTheRightsAreThoseOfTheSource, for whom the pods are, and no others.
func TestTheRightsAreThoseOfTheSource(t *testing.T) {
	eachExample(t, func(t *testing.T, name string, files map[string]string, _ string) {
		list := objects(t, files)
		var rules []rbacv1.PolicyRule
		var subjects []rbacv1.Subject
		for _, r := range all[*rbacv1.Role](list) {
			rules = append(rules, r.Rules...)
		}
		for _, r := range all[*rbacv1.ClusterRole](list) {
			rules = append(rules, r.Rules...)
		}
		for _, b := range all[*rbacv1.RoleBinding](list) {
			subjects = append(subjects, b.Subjects...)
		}
		for _, b := range all[*rbacv1.ClusterRoleBinding](list) {
			subjects = append(subjects, b.Subjects...)
		}
		want := map[string]string{"dns": "", "gossip": "", "static": "", "pods": "[] [pods] [get list watch]"}
		rule, special := want[name]
		if !special {
			rule = "[discovery.k8s.io] [endpointslices] [get list watch]"
		}
		if (rule == "") != (len(rules) == 0) || len(rules) != len(subjects) {
			t.Fatalf("%d rules for %d subjects", len(rules), len(subjects))
		}
		for _, r := range rules {
			if got := fmt.Sprint(r.APIGroups, r.Resources, r.Verbs); strings.ReplaceAll(got, "] [", "][") != strings.ReplaceAll(rule, "] [", "][") {
				t.Errorf("it may %s, want %s", got, rule)
			}
		}
		for _, p := range podsOf(list) {
			for _, s := range subjects {
				if s.Kind != rbacv1.ServiceAccountKind || s.Name != p.Spec.ServiceAccountName || s.Namespace != namespace {
					t.Errorf("bound to %+v, the pods are %s", s, p.Spec.ServiceAccountName)
				}
			}
			if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
				t.Error("the application gets a token of the API server")
			}
		}
	})
}

// TestWhatIsWrittenInConfigCounts over what the chart writes, and its sources come beside the strategy's.
func TestWhatIsWrittenInConfigCounts(t *testing.T) {
	files, _ := newWorld(t, `{config: {log: {level: debug}, overlay: {active: 7}, api: {casts_per_second: 1000000},
		discovery: {grace: 1m, sources: [{kind: static, contacts: ["seed:1"]}]}}}`).mustRender(t)
	c := readConfig(t, objects(t, files))
	if c.Log.Level != "debug" || c.Log.Format != "json" || c.Overlay.Active != 7 || c.API.CastsPerSecond != 1_000_000 || c.Discovery.Grace.String() != "1m0s" {
		t.Errorf("got %+v", c)
	}
	if s := c.Discovery.Sources; len(s) != 2 || s[0].Kind != "kubernetes" || s[1].Kind != "static" {
		t.Errorf("the sources are %+v", s)
	}
}

// TestThePolicyOpensThePortsThatSidecarsHave, and applications' ports as one says.
func TestThePolicyOpensThePortsThatSidecarsHave(t *testing.T) {
	eachExample(t, func(t *testing.T, name string, files map[string]string, _ string) {
		list := objects(t, files)
		policies := all[*networkingv1.NetworkPolicy](list)
		if len(policies) == 0 {
			return
		}
		open := map[string]bool{}
		for _, rule := range policies[0].Spec.Ingress {
			for _, p := range rule.Ports {
				open[fmt.Sprint(*p.Protocol, p.Port.IntVal)] = true
			}
		}
		if open["TCP8080"] != (name == "gossip") {
			t.Errorf("the application's port: %v", open)
		}
		for pod, p := range podsOf(list) {
			for _, port := range p.Spec.InitContainers[0].Ports {
				if !open[fmt.Sprint(port.Protocol, port.ContainerPort)] {
					t.Errorf("%s: %s is closed", pod, port.Name)
				}
			}
			for k, v := range policies[0].Spec.PodSelector.MatchLabels {
				if p.Labels[k] != v {
					t.Errorf("%s is not selected", pod)
				}
			}
		}
	})
}

// TestHelmTestAsksWhatTheDemoServes: as many as there are, by the method that they have.
func TestHelmTestAsksWhatTheDemoServes(t *testing.T) {
	files, _ := newWorld(t, "{demo: {replicas: 7}}").mustRender(t)
	p := one[*corev1.Pod](t, objects(t, files)).Spec
	for i, want := range []string{"", "await --timeout 60s --serving demo.echo 7", "check -c /etc/starling/config.yaml"} {
		if got := strings.Join(p.InitContainers[i].Args, " "); i > 0 && got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := strings.Join(p.Containers[0].Args, " "); got != "multicall demo.echo hello --serving demo.echo" {
		t.Error(got)
	}
}
