package flock_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/rpc/client"
)

// wantWords wants that a text names things.
func wantWords(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: it does not say %q: %s", what, word, text)
		}
	}
}

func TestMistakesOfCallersAreNamed(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3})
	b := w.Bird(1)

	_, err := b.Client().Multicall(t.Context(), flock.EchoMethod, client.Bytes(make([]byte, 4<<20+1)))
	if err == nil {
		t.Fatal("a payload over the limit was taken")
	}
	wantWords(t, "a payload over the limit", err.Error(), "PAYLOAD_TOO_LARGE", "4194305", "4194304", "message_max")
	w.WantVerdicts(w.Multicall(b), nil) // and the session lives

	a, err := b.Client().Multicall(t.Context(), "demo.ecko", client.Text("hi"))
	if err != nil {
		t.Fatal(err)
	}
	w.WantVerdicts(a, w.Birds(), client.NoHandler)
	for _, v := range a.Verdicts {
		wantWords(t, "an unknown method", v.Reason, "demo.ecko", "demo.echo")
		if v.Executed != client.No {
			t.Errorf("%s: executed %s", v.Name, v.Executed)
		}
	}

	if _, err = b.Client().Call(t.Context(), "bird-33", flock.EchoMethod, client.Text("hi")); err == nil {
		t.Fatal("an unknown node was called")
	}
	wantWords(t, "an unknown node", err.Error(), "NODE_UNKNOWN", "bird-33", "did you mean bird-3")

	status, answer := curl(t, b, "Multicall", `{"method":"demo.echo","payloda":{"text":"hi"}}`)
	message, _ := answer["message"].(string)
	if status != "400" {
		t.Errorf("an unknown field: HTTP %s", status)
	}
	wantWords(t, "an unknown field", message, `"payloda"`)
}

func TestMistakesOfConfigurationAreNamed(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 2})
	b := w.Bird(1)
	long := filepath.Join(tempDir(t), strings.Repeat("long", 30))
	for _, c := range []struct {
		what, config string
		code         int
		says         []string
	}{
		{"a misspelt key", copyConfig(t, b, "cluster:", "clutser:"), 2, []string{":1: ", "clutser", `did you mean "cluster"?`}},
		{"a misspelt key inside a source", copyConfig(t, b, "refresh:", "refersh:"), 2, []string{"discovery.sources[0].refersh", `did you mean "refresh"?`}},
		{"a key that is no key", copyConfig(t, b, "{key: ", "{key: nonsense-"), 2, []string{"security.key", "keygen"}},
	} {
		said, code := w.Run("agent", "-c", c.config)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.what, code, c.code)
		}
		wantWords(t, c.what, said, c.says...)
		t.Logf("%s: %s", c.what, strings.TrimSpace(said))
	}

	said, code := w.Run("agent", "-c", withSocket(t, b, long))
	t.Logf("a socket's path that is too long: %d: %s", code, strings.TrimSpace(said))
	if code == 0 {
		t.Error("a socket's path that is too long was taken")
	}
	wantWords(t, "a socket's path that is too long", said, "api.socket", fmt.Sprint(len(long)), "107", "shorter")

	said, code = w.Run("agent", "-c", withSocket(t, b, b.Socket()))
	t.Logf("a socket of another: %d: %s", code, strings.TrimSpace(said))
	if code == 0 {
		t.Error("the socket of a living agent was taken")
	}
	wantWords(t, "a socket of another", said, b.Socket(), "live process")
	w.WantVerdicts(w.Multicall(b), nil) // whose socket it is
}

// withSocket is a bird's configuration under another name and with that socket.
func withSocket(t *testing.T, b *flock.Bird, socket string) string {
	t.Helper()
	file := copyConfig(t, b, "name: "+b.Name, "name: newcomer")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(filepath.Dir(file), "sock")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), before, socket)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
