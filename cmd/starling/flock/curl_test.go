package flock_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
)

// curl asks as the README does, with nothing but curl, and returns the status and what was said. Where there is no curl, Go
// says the same words over HTTP/1.1.
func curl(t *testing.T, b *flock.Bird, method, body string) (status string, answer map[string]any) {
	t.Helper()
	url := "http://localhost/starling.v1.RpcService/" + method
	var said []byte
	if _, err := exec.LookPath("curl"); err == nil {
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--unix-socket", b.Socket(),
			"-H", "content-type: application/json", "-d", body, "-w", "\n%{http_code}", url).CombinedOutput()
		if err != nil {
			t.Errorf("curl: %v: %s", err, out)
			return "", nil
		}
		end := strings.LastIndex(string(out), "\n")
		said, status = out[:end], string(out[end+1:])
	} else {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", b.Socket())
		}
		transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return "", nil
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Errorf("post %s: %v", method, err)
			return "", nil
		}
		defer func() { _ = res.Body.Close() }()
		if said, err = io.ReadAll(res.Body); err != nil {
			t.Errorf("post %s: %v", method, err)
		}
		status = strconv.Itoa(res.StatusCode)
	}
	if err := json.Unmarshal(said, &answer); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	return status, answer
}

// at follows keys into what JSON was decoded to.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// verdictsOf are the words of an answer by name.
func verdictsOf(t *testing.T, answer map[string]any) map[string]string {
	t.Helper()
	list, _ := answer["verdicts"].([]any)
	by := map[string]string{}
	for _, v := range list {
		name, _ := at(v, "name").(string)
		if _, twice := by[name]; twice {
			t.Errorf("%s has two verdicts", name)
		}
		text, _ := at(v, "payload", "text").(string)
		verdict, _ := at(v, "verdict").(string)
		executed, _ := at(v, "executed").(string)
		by[name] = verdict + " " + executed + " " + text
	}
	return by
}

func TestCurlAloneAsksAndServes(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3})
	status, answer := curl(t, w.Bird(1), "Multicall", `{"method":"demo.echo","payload":{"text":"hi"}}`)
	by := verdictsOf(t, answer)
	for _, b := range w.Birds() {
		if want := "VERDICT_REPLIED EXECUTED_YES hi from " + b.Name; by[b.Name] != want {
			t.Errorf("%s: %q, want %q", b.Name, by[b.Name], want)
		}
	}
	if status != "200" || len(by) != 3 || at(answer, "summary", "replied") != 3.0 {
		t.Errorf("HTTP %s: %v", status, answer)
	}

	// Now serve: the first poll registers, and the lease that it is given names this server from then on.
	_, first := curl(t, w.Bird(2), "Poll", `{"methods":["test.shout"],"wait":"0.01s"}`)
	lease, _ := at(first, "lease").(string)
	if lease == "" {
		t.Fatalf("no lease: %v", first)
	}
	asked := make(chan map[string]any, 1)
	go func() {
		_, answer := curl(t, w.Bird(2), "Multicall", `{"method":"test.shout","payload":{"text":"hi"},"timeout":"60s"}`)
		asked <- answer
	}()
	_, work := curl(t, w.Bird(2), "Poll", `{"lease":"`+lease+`","wait":"60s"}`)
	id, _ := at(work, "request", "id").(string)
	text, _ := at(work, "request", "payload", "text").(string)
	if id == "" || text != "hi" {
		t.Fatalf("no request: %v", work)
	}
	if status, late := curl(t, w.Bird(2), "Respond",
		`{"lease":"`+lease+`","reply":{"id":"`+id+`","payload":{"text":"`+strings.ToUpper(text)+`"}}}`); status != "200" || late["late"] != false {
		t.Errorf("respond: HTTP %s: %v", status, late)
	}
	by = verdictsOf(t, <-asked)
	want := map[string]string{
		"bird-1": "VERDICT_NO_HANDLER EXECUTED_NO ", "bird-2": "VERDICT_REPLIED EXECUTED_YES HI", "bird-3": "VERDICT_NO_HANDLER EXECUTED_NO ",
	}
	for name, v := range want {
		if by[name] != v {
			t.Errorf("%s: %q, want %q", name, by[name], v)
		}
	}
}
