package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutItsRoleASidecarSaysExactlyWhichIsMissing(t *testing.T) {
	w := newWorld(t)
	w.install("birds", "rbac.create=false", "demo.replicas=3")
	pods := names(w.pods(demo))
	for _, p := range pods {
		m, err := w.members(p)
		w.must("ask for the members", err)
		w.must("it knows only itself", wantAll(m, "alive", []string{p}))
	}
	role := w.logged(pods[0], "kubernetes: the API server forbids what this source needs; apply this", "role")
	t.Logf("the log says\n%s", role)
	findings, err := w.starling(pods[0], "check", "-c", "/etc/starling/config.yaml", "-o", "json")
	if err == nil {
		t.Errorf("check found nothing wrong:\n%s", findings)
	} else if fix := quoted(role); !strings.Contains(err.Error(), fix) {
		t.Errorf("check does not say the same: %v", err)
	}
	path := filepath.Join(t.TempDir(), "role.yaml")
	w.must("write it down", os.WriteFile(path, []byte(role), 0o600))
	t.Log(w.kubectl("apply", "-f", path))
	w.awaitMembers("with that very Role they find each other", pods)
}

// logged is a field of a sidecar's log line.
func (w *world) logged(pod, msg, field string) string {
	w.t.Helper()
	logs := w.kubectl("logs", pod, "-c", "starling")
	for line := range strings.Lines(logs) {
		var said map[string]any
		if json.Unmarshal([]byte(line), &said) == nil && said["msg"] == msg {
			if value, ok := said[field].(string); ok {
				return value
			}
		}
	}
	w.t.Fatalf("the log of %s has no %q with %s:\n%s", pod, msg, field, logs)
	return ""
}

// quoted is a text as it stands inside of a JSON text.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return strings.Trim(string(b), `"`)
}
