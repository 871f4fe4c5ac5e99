package local

import (
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"

	"context"
)

func TestCurlGetsOneVerdictPerMember(t *testing.T) {
	w := newWorld(t)
	app := w.dial("echo")
	if err := app.Handle(t.Context(), "demo.echo", func(_ context.Context, r *client.Request) (client.Payload, error) {
		return r.Payload, nil
	}); err != nil {
		t.Fatal(err)
	}
	code, got := w.curl("Multicall", `{"method":"demo.echo","payload":{"text":"hi"}}`)
	if code != 200 {
		t.Fatalf("HTTP %d: %v", code, got)
	}
	for i, name := range []string{"a", "b", "c"} {
		v := at(t, got, "verdicts", i)
		if at(t, v, "name") != name || at(t, v, "verdict") != "VERDICT_REPLIED" || at(t, v, "executed") != "EXECUTED_YES" ||
			at(t, v, "stage") != "STAGE_FINISHED" || at(t, v, "payload", "text") != "hi" || at(t, v, "reason") != "" {
			t.Errorf("verdict %d: %v", i, v)
		}
	}
	if at(t, got, "snapshot", "size") != 3.0 || at(t, got, "summary", "replied") != 3.0 || at(t, got, "snapshot", "coverage") != 1.0 {
		t.Errorf("snapshot and summary: %v %v", at(t, got, "snapshot"), at(t, got, "summary"))
	}
	if at(t, got, "summary", "executedMaybe") != 0.0 {
		t.Error("default values are not written")
	}
}

func TestAJSONPayloadStaysJSON(t *testing.T) {
	w := newWorld(t)
	_, got := w.curl("Multicall", `{"method":"x","payload":{"json":{"n":1,"s":"<"}},"targets":{"nodes":["b"]}}`)
	if at(t, got, "verdicts", 0, "payload", "json", "s") != "<" || at(t, got, "verdicts", 0, "payload", "contentType") != "application/json" {
		t.Errorf("got %v", got)
	}
}

func TestAnUnknownMethodIsInTheVerdict(t *testing.T) {
	w := newWorld(t)
	_, got := w.curl("Call", `{"node":"a","method":"nope"}`)
	v := at(t, got, "verdict")
	if at(t, v, "verdict") != "VERDICT_NO_HANDLER" || at(t, v, "executed") != "EXECUTED_NO" || !strings.Contains(at(t, v, "reason").(string), "nope") {
		t.Errorf("got %v", v)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	w := newWorld(t, func(c *rpc.Config, _ *Socket) { c.MessageMax, c.QueueBytes, c.AnswerBytes = 2048, 4096, 4096 })
	for _, c := range []struct {
		what, method, body string
		code               int
		reason             string
		says               []string
	}{
		{"an unknown field", "Multicall", `{"metod":"x"}`, 400, "", []string{`"metod"`, "method"}},
		{"an unknown payload field", "Multicall", `{"method":"x","payload":{"txt":"a"}}`, 400, "", []string{`"txt"`, "text | data"}},
		{"no JSON", "Multicall", `{`, 400, "", []string{"unexpected EOF"}},
		{"no method", "Multicall", `{}`, 400, "BAD_REQUEST", []string{"method"}},
		{"a payload over the limit", "Multicall", `{"method":"x","payload":{"text":"` + strings.Repeat("x", 2049) + `"}}`, 400, "PAYLOAD_TOO_LARGE", []string{"2049", "2048", "message_max"}},
		{"a request far over the limit", "Multicall", `{"method":"x","payload":{"text":"` + strings.Repeat("x", 2<<20) + `"}}`, 400, "PAYLOAD_TOO_LARGE", []string{"2048", "message_max"}},
		{"a misspelt node", "Call", `{"node":"bb","method":"x"}`, 404, "NODE_UNKNOWN", []string{`"bb"`, "did you mean b?"}},
		{"no time", "Multicall", `{"method":"x","timeout":"0s"}`, 400, "BAD_REQUEST", []string{"timeout"}},
		{"method and topic", "Abcast", `{"method":"x","topic":"y"}`, 400, "BAD_REQUEST", []string{"both"}},
		{"no lease", "Respond", `{"lease":"x","reply":{"id":1}}`, 404, "LEASE_UNKNOWN", []string{"poll without a lease"}},
		{"a poll for nothing", "Poll", `{}`, 400, "BAD_REQUEST", []string{"methods or topics"}},
		{"a key without owner", "Call", `{"key":{"key":"k","group":"nobody"},"method":"x"}`, 404, "NO_OWNER", []string{"nobody"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w.t = t
			code, got := w.curl(c.method, c.body)
			text, _ := got["message"].(string)
			if code != c.code {
				t.Errorf("HTTP %d, want %d: %v", code, c.code, got)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("%q does not say %q", text, s)
				}
			}
			if c.reason != "" && at(t, got, "details", 0, "debug", "reason") != c.reason {
				t.Errorf("reason is not %s: %v", c.reason, got)
			}
		})
	}
	w.t = t
}

func TestCurlAloneServesAMethod(t *testing.T) {
	w := newWorld(t)
	caller := w.dial("caller")
	answers := make(chan *client.NodeVerdict, 1)
	_, first := w.curl("Poll", `{"methods":["shell.up"],"wait":"0.001s"}`)
	lease := at(t, first, "lease").(string)
	if lease == "" || at(t, first, "request") != nil {
		t.Fatalf("first poll: %v", first)
	}
	go func() {
		v, err := caller.Call(t.Context(), "a", "shell.up", client.Text("hi"))
		if err != nil {
			t.Error(err)
		}
		answers <- v
	}()
	_, work := w.curl("Poll", `{"lease":"`+lease+`"}`)
	if at(t, work, "request", "payload", "text") != "hi" || at(t, work, "request", "caller") != "a" {
		t.Fatalf("second poll: %v", work)
	}
	id := at(t, work, "request", "id").(string)
	_, done := w.curl("Respond", `{"lease":"`+lease+`","reply":{"id":"`+id+`","payload":{"text":"HI"}}}`)
	if at(t, done, "late") != false {
		t.Errorf("respond: %v", done)
	}
	if v := <-answers; v.Verdict != client.Replied || v.Payload.String() != "HI" {
		t.Errorf("the caller got %+v", v)
	}
	if _, again := w.curl("Respond", `{"lease":"`+lease+`","reply":{"id":"`+id+`"}}`); at(t, again, "late") != true {
		t.Errorf("a second answer was taken: %v", again)
	}
}

func TestAPollerThatVanishesIsHandlerGone(t *testing.T) {
	w := newWorld(t)
	caller := w.dial("caller")
	_, first := w.curl("Poll", `{"methods":["m"],"wait":"0.001s","keep":"0.1s"}`)
	lease := at(t, first, "lease").(string)
	answer := make(chan *client.NodeVerdict, 1)
	go func() {
		v, err := caller.Call(t.Context(), "a", "m", client.Text("x"), client.Timeout(10*time.Second))
		if err != nil {
			t.Error(err)
		}
		answer <- v
	}()
	if _, work := w.curl("Poll", `{"lease":"`+lease+`"}`); at(t, work, "request", "method") != "m" {
		t.Fatalf("poll: %v", work)
	}
	if v := <-answer; v.Verdict != client.HandlerGone || v.Executed != client.Maybe {
		t.Errorf("the caller got %+v", v)
	}
}
