package ask

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// printAnswer shows one verdict per node and returns the exit code as an error.
func printAnswer(w io.Writer, format string, a *client.Answer) error {
	if format == "json" {
		if err := term.WriteJSON(w, "answer", answerForScripts(a)); err != nil {
			return err
		}
		return verdictCode(a)
	}
	PrintTable(w, a)
	return verdictCode(a)
}

// PrintTable shows one verdict per node, for people.
func PrintTable(w io.Writer, a *client.Answer) {
	t := verdictTable()
	for _, v := range a.Verdicts {
		verdictRow(t, v)
	}
	for _, v := range a.Extra {
		v.Extra = true
		verdictRow(t, v)
	}
	t.Write(w)
	fmt.Fprintf(w, "\n%s\n", summary(a))
}

func verdictTable() *term.Table {
	return term.NewTable("node", "verdict", "executed", "stage", "time", "answer")
}

func verdictRow(t *term.Table, v client.NodeVerdict) {
	t.Row(v.Name, term.Paint(string(v.Verdict), verdictColour(v)), string(v.Executed), string(v.Stage), shortTime(v.Elapsed), gist(v))
}

// verdictColour: green did it, term.Red did not, term.Yellow nobody knows.
func verdictColour(v client.NodeVerdict) term.Colour {
	switch {
	case v.OK():
		return term.Green
	case v.Executed == client.Maybe:
		return term.Yellow
	default:
		return term.Red
	}
}

// gistMax is how many characters of an answer a table shows.
const gistMax = 80

// gist is the answer, or why there is none, in one line.
func gist(v client.NodeVerdict) string {
	text := v.Reason
	switch {
	case v.Err != nil:
		text = v.Err.Code + ": " + v.Err.Message
	case v.OK():
		text = payloadText(v.Payload)
	}
	if v.Extra {
		text = "(was not asked) " + text
	}
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > gistMax {
		text = string([]rune(text)[:gistMax-1]) + "…"
	}
	return text
}

// payloadText is what a person can read of a payload.
func payloadText(p client.Payload) string {
	if utf8.Valid(p.Data) {
		return string(p.Data)
	}
	return fmt.Sprintf("%d bytes of %s", len(p.Data), p.ContentType)
}

func summary(a *client.Answer) string {
	s := a.Summary
	text := fmt.Sprintf("%d asked, %d replied; executed: %d yes, %d no, %d maybe; %s",
		s.Asked, s.Replied, s.ExecutedYes, s.ExecutedNo, s.ExecutedMaybe, shortTime(s.Elapsed))
	if a.Snapshot.Discovery == "differs" {
		text += fmt.Sprintf("\ndiscovery expects %d members, %d are known", a.Snapshot.Expected, a.Snapshot.Size)
	}
	return text
}

// verdictCode is 0 if all did it, 4 if none did, 3 otherwise.
func verdictCode(a *client.Answer) error {
	failed := len(a.Failed())
	switch {
	case len(a.Verdicts) == 0:
		return term.Exit{Code: term.Failed, Err: fmt.Errorf("nobody was asked: no member is selected")}
	case failed == 0:
		return nil
	case failed == len(a.Verdicts):
		return term.Exit{Code: term.Failed}
	default:
		return term.Exit{Code: term.Partial}
	}
}

// shortTime has three significant digits: nobody compares nanoseconds in a table.
func shortTime(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// scriptVerdict is a verdict as scripts read it.
type scriptVerdict struct {
	NodeID   string          `json:"node_id"`
	Name     string          `json:"name"`
	Verdict  client.Verdict  `json:"verdict"`
	Executed client.Executed `json:"executed"`
	Stage    client.Stage    `json:"stage"`
	Seconds  float64         `json:"elapsed_seconds"`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason,omitempty"`
	Payload  *scriptPayload  `json:"payload,omitempty"`
	Error    *scriptAppError `json:"error,omitempty"`
}

// scriptPayload has one of text, json and data, as the API's own JSON does.
type scriptPayload struct {
	ContentType string          `json:"content_type,omitempty"`
	Text        *string         `json:"text,omitempty"`
	JSON        json.RawMessage `json:"json,omitempty"`
	Data        []byte          `json:"data,omitempty"`
}

type scriptAppError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func verdictForScripts(v client.NodeVerdict) scriptVerdict {
	s := scriptVerdict{
		NodeID: v.NodeID, Name: v.Name, Verdict: v.Verdict, Executed: v.Executed, Stage: v.Stage,
		Seconds: v.Elapsed.Seconds(), Attempts: v.Attempts, Reason: v.Reason,
	}
	if v.Err != nil {
		s.Error = &scriptAppError{v.Err.Code, v.Err.Message}
	} else if v.OK() {
		s.Payload = payloadForScripts(v.Payload)
	}
	return s
}

func payloadForScripts(p client.Payload) *scriptPayload {
	s := &scriptPayload{ContentType: p.ContentType}
	media, _, _ := mime.ParseMediaType(p.ContentType)
	switch {
	case media == "application/json" && json.Valid(p.Data):
		s.JSON = p.Data
	case strings.HasPrefix(media, "text/") && utf8.Valid(p.Data):
		text := string(p.Data)
		s.Text = &text
	default:
		s.Data = p.Data
	}
	return s
}

func answerForScripts(a *client.Answer) any {
	verdicts, extra := []scriptVerdict{}, []scriptVerdict{}
	for _, v := range a.Verdicts {
		verdicts = append(verdicts, verdictForScripts(v))
	}
	for _, v := range a.Extra {
		extra = append(extra, verdictForScripts(v))
	}
	return map[string]any{
		"verdicts": verdicts, "extra": extra,
		"summary": map[string]any{
			"asked": a.Summary.Asked, "replied": a.Summary.Replied, "executed_yes": a.Summary.ExecutedYes,
			"executed_no": a.Summary.ExecutedNo, "executed_maybe": a.Summary.ExecutedMaybe,
			"elapsed_seconds": a.Summary.Elapsed.Seconds(),
		},
		"snapshot": map[string]any{
			"version": a.Snapshot.Version, "size": a.Snapshot.Size, "age_seconds": a.Snapshot.Age.Seconds(),
			"discovery": a.Snapshot.Discovery, "expected": a.Snapshot.Expected, "coverage": a.Snapshot.Coverage,
		},
	}
}
