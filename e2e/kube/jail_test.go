package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/starlingmesh/starling/discovery"
)

func TestTooManyRequestsLosesNobodyAndIsNoHammering(t *testing.T) {
	w, l, line := begin(t, (*world).asAccount)
	free := w.jail()
	t.Cleanup(control.Etcd.Resume)
	before, began := l.failed(), time.Now()
	line.cut()
	l.wantFailure(discovery.Throttled, before)
	some := time.NewTimer(10 * time.Second)
	defer some.Stop()
	<-some.C
	took := time.Since(began)
	probes := free()
	refused := w.refused() - probes
	t.Logf("%d requests refused in %v", refused, took.Round(time.Second))
	// The server asks for a second of patience.
	if most := 2 * int(took/time.Second); refused < 1 || refused > most {
		t.Errorf("%d requests were refused, want 1 to %d", refused, most)
	}
	w.newsArrive(l)
}

// jail has the API server answer 429 to the service account, by its own rules (API Priority and Fairness) and as in an
// overload: the account's level rejects instead of queueing and has room for one request, which hangs on a silent etcd. free ends that, and says how many requests of the test's own were refused.
func (w *world) jail() (free func() (probes int)) {
	w.t.Helper()
	none := int32(0)
	client := w.api.FlowcontrolV1()
	_, err := client.PriorityLevelConfigurations().Create(w.t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: named(w.ns),
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &none, BorrowingLimitPercent: &none,
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}, metav1.CreateOptions{})
	w.must("make a priority level", err)
	all := []string{"*"}
	schema, err := client.FlowSchemas().Create(w.t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: named(w.ns),
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: w.ns},
			MatchingPrecedence:         10,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{
					Kind:           flowcontrolv1.SubjectKindServiceAccount,
					ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: w.ns, Name: account},
				}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: all, APIGroups: all, Resources: all, Namespaces: all, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	w.must("make a flow schema", err)
	config, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig(control.URL(), w.asAccount()))
	w.must("read the kubeconfig", err)
	prisoner, err := rest.HTTPClientFor(config)
	w.must("make a client", err)
	w.await("the rule holds", patience, func() error {
		res, err := w.get(w.t.Context(), prisoner) //nolint:bodyclose // get does
		if err == nil && res.Header.Get("X-Kubernetes-Pf-Flowschema-Uid") != string(schema.UID) {
			err = fmt.Errorf("the answer is %s, by another rule", res.Status)
		}
		return err
	})
	return w.hang(prisoner)
}

// hang has one request hang on a silent etcd until free is called, which ends the jail.
func (w *world) hang(prisoner *http.Client) (free func() (probes int)) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	var probes atomic.Int32
	control.Etcd.Pause()
	probe := func(ctx context.Context) bool {
		res, err := w.get(ctx, prisoner) //nolint:bodyclose // get does
		if err != nil || res.StatusCode != http.StatusTooManyRequests {
			return false
		}
		probes.Add(1)
		return true
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for probe(ctx) { // until it is the one that hangs
		}
	})
	inARow := 0
	w.await("the level is full", patience, func() error {
		ctx, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if inARow++; !probe(ctx) {
			inARow = 0
		}
		if inARow < 5 {
			return fmt.Errorf("%d requests in a row were refused", inARow)
		}
		return nil
	})
	return func() int {
		control.Etcd.Resume()
		stop()
		wg.Wait()
		client := w.api.FlowcontrolV1()
		w.must("end the flow schema", client.FlowSchemas().Delete(context.Background(), w.ns, metav1.DeleteOptions{}))
		w.must("end the priority level", client.PriorityLevelConfigurations().Delete(context.Background(), w.ns, metav1.DeleteOptions{}))
		return int(probes.Load())
	}
}

// get asks for something that only etcd knows.
func (w *world) get(ctx context.Context, client *http.Client) (res *http.Response, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, control.URL()+"/api/v1/namespaces/"+w.ns+"/pods/"+three[0].name, nil)
	if err != nil {
		return nil, err
	}
	if res, err = client.Do(req); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// refused is how many requests the API server answered by 429 under the rule that jail made.
func (w *world) refused() int {
	w.t.Helper()
	text, err := w.api.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(w.t.Context())
	w.must("read the metrics of the API server", err)
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "apiserver_flowcontrol_rejected_requests_total{") && strings.Contains(line, `flow_schema="`+w.ns+`"`) {
			var more int
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &more); err != nil {
				w.t.Fatalf("read %q: %v", line, err)
			}
			n += more
		}
	}
	return n
}
