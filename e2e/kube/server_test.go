package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// three are enough where numbers do not matter; the fourth comes later, to show that news arrive again.
var (
	four          = flockOf(4)
	three, fourth = four[:3], four[3]
)

// begin has three peers found by a lookout whose way to the API server is a wire.
func begin(t *testing.T, user func(*world) api.AuthInfo) (*world, *lookout, *wire) {
	t.Helper()
	w, line := newWorld(t), newWire(t)
	w.allow()
	w.serve(service)
	w.start(three...)
	l := w.look(w.config(w.kubeconfig(line.url(), user(w))))
	l.want(three...)
	return w, l, line
}

// newsArrive has one more peer found, and nobody lost.
func (w *world) newsArrive(l *lookout) {
	w.t.Helper()
	w.start(fourth)
	l.want(four...)
	l.wantNobodyLost()
}

func TestWithoutARoleTheLogPrintsTheOneThatIsMissing(t *testing.T) {
	for _, resource := range []string{kubernetes.EndpointSlices, kubernetes.Pods} {
		t.Run(resource, func(t *testing.T) {
			w := newWorld(t)
			w.serve(service)
			w.start(three...)
			c := w.config(w.kubeconfig(control.URL(), w.asAccount()))
			if c.Resource = resource; resource == kubernetes.Pods {
				c.Services, c.LabelSelector = nil, "app="+service
			}
			l := w.look(c)
			l.wantFailure(discovery.Auth, 0)
			role := roleIn(t, l.log())
			t.Logf("the Role in the log: %+v", role.Rules)
			w.grant(role)
			l.want(three...) // nothing was restarted
			w.newsArrive(l)
		})
	}
}

// roleIn finds the Role that the log prints.
func roleIn(t *testing.T, log string) *rbacv1.Role {
	t.Helper()
	at := strings.Index(log, "apiVersion: rbac.authorization.k8s.io/v1")
	if at < 0 {
		t.Fatalf("the log has no Role:\n%s", log)
	}
	text := strings.ReplaceAll(log[at:], `\n`, "\n")
	text = strings.ReplaceAll(text, `\"`, `"`)
	first, _, _ := strings.Cut(text, "---")
	role := &rbacv1.Role{}
	if err := yaml.UnmarshalStrict([]byte(first), role); err != nil {
		t.Fatalf("read the Role of the log: %v\n%s", err, first)
	}
	role.Namespace = "" // grant puts it into the test's
	return role
}

func TestAForbiddenWatchLosesNobody(t *testing.T) {
	w, l, line := begin(t, (*world).asAccount)
	w.must("take the Role away", w.api.RbacV1().RoleBindings(w.ns).Delete(t.Context(), "watch-peers", metav1.DeleteOptions{}))
	w.must("and the other half", w.api.RbacV1().Roles(w.ns).Delete(t.Context(), "watch-peers", metav1.DeleteOptions{}))
	line.cut() // rights are asked for when a watch begins
	l.wantFailure(discovery.Auth, 0)
	w.allow()
	w.newsArrive(l)
}

func TestAWatchOfAForgottenPastLosesNobody(t *testing.T) {
	w, l, line := begin(t, (*world).asAccount)
	then, err := w.api.DiscoveryV1().EndpointSlices(w.ns).List(t.Context(), metav1.ListOptions{})
	w.must("list the slices", err)
	release := line.stall() // it is not to hear of the changes that follow
	defer release()
	w.start(fourth)
	control.APIServer.Kill() // it remembers changes; its successor must ask etcd
	_, err = control.Compact(t.Context())
	w.must("compact etcd", err)
	w.must("start the API server", control.StartAgain(t.Context(), control.APIServer))

	watch, err := w.api.DiscoveryV1().EndpointSlices(w.ns).Watch(t.Context(), metav1.ListOptions{ResourceVersion: then.ResourceVersion})
	if err == nil {
		e := <-watch.ResultChan()
		watch.Stop()
		err = errors.FromObject(e.Object)
	}
	t.Logf("a watch from then on is answered: %v", err)
	if !errors.IsGone(err) && !errors.IsResourceExpired(err) {
		t.Fatal("want 410 Gone")
	}
	release()
	line.cut()
	l.want(four...)
	l.wantNobodyLost()
}

func TestAnExpiredTokenLosesNobodyAndANewOneIsTakenUp(t *testing.T) {
	const life = 5 * time.Second
	var file, token string
	w, l, line := begin(t, func(w *world) api.AuthInfo {
		file = filepath.Join(t.TempDir(), "token")
		var err error
		token, err = control.TokenFor(t.Context(), w.ns, account, life)
		w.must("make a token", err)
		w.must("write it", os.WriteFile(file, []byte(token), 0o600))
		return api.AuthInfo{TokenFile: file}
	})
	somebody := w.client(w.kubeconfig(control.URL(), api.AuthInfo{Token: token}))
	w.await("the API server refuses the token", patience, func() error { // it remembers its own word for 10 s
		_, err := somebody.DiscoveryV1().EndpointSlices(w.ns).List(t.Context(), metav1.ListOptions{})
		if !errors.IsUnauthorized(err) {
			return fmt.Errorf("it says %v", err) //nolint:errorlint // nil, too
		}
		return nil
	})
	line.cut() // a watch that was allowed goes on
	l.wantFailure(discovery.Auth, 0)
	w.start(fourth)
	next := file + ".next"
	w.must("write a new token", os.WriteFile(next, []byte(w.token()), 0o600))
	w.must("put it in place, as a kubelet does", os.Rename(next, file))
	l.want(four...)
	l.wantNobodyLost()
}

func TestAnAPIServerThatStandsStillForAMinuteLosesNobody(t *testing.T) {
	w, l, _ := begin(t, (*world).asAccount)
	control.APIServer.Pause()
	timer := time.NewTimer(time.Minute) // longer than the grace, and than the client's patience with a silent connection
	defer timer.Stop()
	<-timer.C
	control.APIServer.Resume()
	w.newsArrive(l)
}

func TestEtcdKilledAndBackLosesNobody(t *testing.T) {
	w, l, line := begin(t, (*world).asAccount)
	control.Etcd.Kill()
	line.cut()
	// The API server is there, and what it says without its memory is no answer.
	w.await("the API server cannot read", patience, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.api.CoreV1().Pods(w.ns).List(ctx, metav1.ListOptions{})
		if err == nil {
			return fmt.Errorf("it can")
		}
		return nil
	})
	line.cut()
	w.must("start etcd", control.StartAgain(t.Context(), control.Etcd))
	w.await("the API server is well", patience, func() error { return control.APIServes(t.Context()) })
	w.newsArrive(l)
}

func TestAStalledWatchIsNoticedAndReplaced(t *testing.T) {
	w, l, line := begin(t, (*world).asAccount)
	release := line.stall()
	defer release() // never while it matters
	w.start(fourth)
	l.wantWithin(2*time.Minute, four...) // client-go pings a silent connection after 30 s, and waits 15 s for the answer
	l.wantNobodyLost()
}
