package charttest

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/starlingmesh/starling/overlay/keys"
)

// keyOf is the key in the Secret that the chart makes.
func keyOf(t *testing.T, w world) string {
	t.Helper()
	files, _ := w.mustRender(t)
	return one[*corev1.Secret](t, objects(t, files)).StringData["key"]
}

// TestAFreshKeyIsOneThatTheAgentTakes: each checks its own sum, so a template that got a bit wrong fails soon.
func TestAFreshKeyIsOneThatTheAgentTakes(t *testing.T) {
	w := newWorld(t, "{}")
	seen := map[string]bool{}
	for range 200 {
		key := keyOf(t, w)
		k, err := keys.Parse(key)
		if err != nil || k.Reveal() != key {
			t.Fatalf("%s: %v", key, err)
		}
		if seen[key] {
			t.Fatal("the same key twice")
		}
		seen[key] = true
	}
}

func TestAKeyThatIsThereIsKept(t *testing.T) {
	w := newWorld(t, "{}").withKey("cart-starling-key", map[string]string{"key": aKey})
	if got := keyOf(t, w); got != aKey {
		t.Errorf("got another key")
	}
	files, _ := w.mustRender(t)
	if s := one[*corev1.Secret](t, objects(t, files)); s.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Error("it goes with the release")
	}
}

func TestASecretWithoutTheKeyIsNotOverwritten(t *testing.T) {
	newWorld(t, "{}").withKey("cart-starling-key", map[string]string{"other": aKey}).refused(t, "shop/cart-starling-key", `no entry "key"`)
}

func TestWithoutAClusterItRefusesWithTheCommand(t *testing.T) {
	w := newWorld(t, "{}")
	w.objects = nil
	w.refused(t, `kubectl create secret generic cart-starling-key --namespace shop --from-literal=key="$(starling keygen)"`,
		"--set security.existingSecret=cart-starling-key")

	for _, given := range []string{
		"security: {existingSecret: given}", "security: {certificates: {existingSecret: given}}",
		"security: {certificates: {certManager: {enabled: true, issuer: {name: x}}}}",
	} {
		w := newWorld(t, given)
		w.objects = nil
		files, _ := w.mustRender(t)
		if made := all[*corev1.Secret](objects(t, files)); len(made) > 0 {
			t.Errorf("%s: it made a Secret", given)
		}
	}
}

// TestANamespaceThatIsStillToBeMadeIsNoMissingCluster: helm install --create-namespace renders first.
func TestANamespaceThatIsStillToBeMadeIsNoMissingCluster(t *testing.T) {
	w := newWorld(t, "{}")
	w.objects = []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}}
	if _, err := keys.Parse(keyOf(t, w)); err != nil {
		t.Error(err)
	}
}

// shy is a cluster that tells nothing of namespaces.
type shy struct{ world }

func (s shy) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	if kind == "Namespace" {
		return nil, false, errors.New("namespaces is forbidden")
	}
	return s.world.GetClientFor(apiVersion, kind)
}

// TestWhoMayNotSeeNamespacesCanInstall: rights in one's own namespace suffice.
func TestWhoMayNotSeeNamespacesCanInstall(t *testing.T) {
	files, err := newWorld(t, "{}").renderWith(shy{newWorld(t, "{}")})
	if err != nil || !strings.Contains(files["starling/templates/secret.yaml"], `key: "starling1-`) {
		t.Errorf("%v\n%s", err, files["starling/templates/secret.yaml"])
	}
}
