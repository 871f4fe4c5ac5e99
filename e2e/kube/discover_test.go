package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
)

// starling runs the program and returns what it printed to each of its outputs.
func starling(t *testing.T, words ...string) (out, complaints string, err error) {
	t.Helper()
	var said, complained strings.Builder
	c := exec.CommandContext(t.Context(), flocktest.Binary(), words...)
	c.Stdout, c.Stderr = &said, &complained
	err = c.Run()
	return said.String(), complained.String(), err
}

func TestDiscoverLooksOnceAndSaysWhoAndWhoNot(t *testing.T) {
	w := newWorld(t)
	w.allow()
	w.serve(service)
	w.start(four...)
	w.terminate(fourth)
	kubeconfig := w.kubeconfig(control.URL(), w.asAccount())
	w.await("the slices say so", patience, func() error {
		if sizes := fmt.Sprint(w.sizes()); sizes != "[4]" {
			return fmt.Errorf("slices of %s", sizes)
		}
		return nil
	})
	source := fmt.Sprintf("{kind: kubernetes, kubeconfig: %q, services: [%s], port: starling}", kubeconfig, service)
	w.await("discover finds three and says why the fourth is not taken", patience, func() error {
		out, complaints, err := starling(t, "discover", "-o", "json", source)
		if err != nil {
			return fmt.Errorf("%w: %s", err, complaints)
		}
		var answer struct {
			Data []struct {
				Found struct {
					Candidates []struct{ Addrs []string }
					Skipped    []struct{ What, Why string }
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Data) != 1 {
			return errors.Join(fmt.Errorf("found %s", out), err)
		}
		found := answer.Data[0].Found
		if len(found.Candidates) != 3 || len(found.Skipped) != 1 || !strings.Contains(found.Skipped[0].Why, "terminating") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	out, _, _ := starling(t, "discover", source)
	t.Logf("for people:\n%s", out)

	w.must("take the Role away", w.api.RbacV1().RoleBindings(w.ns).Delete(t.Context(), "watch-peers", metav1.DeleteOptions{}))
	w.await("without a Role discover fails, and prints the one that is missing", patience, func() error {
		out, complaints, err := starling(t, "discover", source)
		if err == nil {
			return fmt.Errorf("it does not fail: %s", out)
		}
		for _, want := range []string{"(auth)", "kind: Role", "resources: [endpointslices]", "namespace: " + w.ns} {
			if !strings.Contains(out+complaints, want) {
				return fmt.Errorf("it lacks %q: %s%s", want, out, complaints)
			}
		}
		t.Logf("without a Role:\n%s%s", out, complaints)
		return nil
	})
}
