package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// evidence is what the operators' socket tells of members and addresses, as far as it is printed here.
type evidence struct {
	Sources []struct {
		Source      string    `json:"source"`
		State       string    `json:"state"`
		Failing     time.Time `json:"failing_since"`
		LastSuccess time.Time `json:"last_success"`
		LastError   string    `json:"last_error"`
		LastClass   string    `json:"last_class"`
		Vouched     int       `json:"vouched"`
		Held        int       `json:"held"`
		HeldWhy     string    `json:"held_why"`
		SelfMissing bool      `json:"self_missing"`
		Rights      []string  `json:"rights"`
	} `json:"sources"`
	Members []struct {
		ID          string    `json:"id"`
		Name        string    `json:"name"`
		Zone        string    `json:"zone"`
		Addrs       []string  `json:"addrs"`
		Incarnation uint64    `json:"incarnation"`
		Version     uint64    `json:"version"`
		Status      string    `json:"status"`
		Since       time.Time `json:"since"`
		Why         string    `json:"why"`
		Linked      bool      `json:"linked"`
		Self        bool      `json:"self"`
		Heard       time.Time `json:"heard"`
		Accused     []string  `json:"accused_by"`
		Defended    []string  `json:"defended_by"`
	} `json:"members"`
	Candidates []struct {
		Key      string   `json:"key"`
		Host     string   `json:"host"`
		Addrs    []string `json:"addrs"`
		Use      string   `json:"use"`
		Why      string   `json:"why"`
		Evidence []struct {
			Source    string    `json:"source"`
			Addrs     []string  `json:"addrs"`
			Since     time.Time `json:"since"`
			Last      time.Time `json:"last"`
			Withdrawn time.Time `json:"withdrawn"`
		} `json:"evidence"`
	} `json:"candidates"`
}

// askEvidence asks the operators' socket about somebody, or about the sources alone.
func askEvidence(ctx context.Context, admin, socket, about string) (raw string, e evidence, err error) {
	path, err := adminSocket(ctx, admin, socket)
	if err != nil {
		return "", e, err
	}
	conn, err := client.Connect(path)
	if err != nil {
		return "", e, fmt.Errorf("connect to %s: %w", path, err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	r, err := starlingv1.NewAdminServiceClient(conn).Evidence(ctx, &starlingv1.EvidenceRequest{About: about})
	if err != nil {
		return "", e, operatorsWord(path, err)
	}
	if err := json.Unmarshal([]byte(r.GetJson()), &e); err != nil {
		return "", e, fmt.Errorf("read what %s answered: %w", path, err)
	}
	return r.GetJson(), e, nil
}

// why is `starling members --why NAME`.
func why(c *cobra.Command, admin, socket, about, output string) error {
	raw, e, err := askEvidence(c.Context(), admin, socket, about)
	if err != nil {
		return err
	}
	if output == "json" {
		return term.WriteJSON(c.OutOrStdout(), "evidence", json.RawMessage(raw))
	}
	printEvidence(c.OutOrStdout(), e)
	return nil
}

func printEvidence(w io.Writer, e evidence) {
	for _, m := range e.Members {
		fmt.Fprintf(w, "%s (%s) is %s since %s", m.Name, shortID(m.ID), m.Status, ago(m.Since))
		if m.Why != "" {
			fmt.Fprintf(w, ": %s", m.Why)
		}
		fmt.Fprintln(w)
		row := func(what, saw string) { fmt.Fprintf(w, "  %-13s %s\n", what, saw) }
		where := strings.Join(m.Addrs, " ")
		if m.Zone != "" {
			where += ", zone " + m.Zone
		}
		row("says it is at", where)
		row("its own word", fmt.Sprintf("incarnation %d, version %d", m.Incarnation, m.Version))
		switch {
		case m.Self:
			row("heard", "it is this node")
		case m.Linked:
			row("heard", "over a link of ours, which is pinged")
		case m.Heard.IsZero():
			row("heard", "never at first hand: others vouch for it")
		default:
			row("heard", "at first hand, "+ago(m.Heard))
		}
		if len(m.Accused) > 0 {
			row("accused by", strings.Join(m.Accused, ", "))
		}
		if len(m.Defended) > 0 {
			row("defended by", strings.Join(m.Defended, ", "))
		}
	}
	if len(e.Candidates) == 0 {
		fmt.Fprintln(w, "no source names an address of it: members told us of it")
	}
	for _, c := range e.Candidates {
		fmt.Fprintf(w, "address %s (%s): %s, %s\n", strings.Join(c.Addrs, " "), c.Key, c.Use, c.Why)
		t := term.NewTable("source", "says", "first", "last")
		for _, v := range c.Evidence {
			says := "it is at " + strings.Join(v.Addrs, " ")
			if !v.Withdrawn.IsZero() {
				says = "no more, since " + ago(v.Withdrawn)
			}
			t.Row(v.Source, says, ago(v.Since), ago(v.Last))
		}
		t.Write(w)
	}
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return shortTime(time.Since(t)) + " ago"
}

// checkSources is a finding for every source of addresses.
func checkSources(ctx context.Context, admin, socket string) []Finding {
	_, e, err := askEvidence(ctx, admin, socket, "")
	if code := status.Code(err); code == codes.Unimplemented {
		err = fmt.Errorf("the sidecar is older than this command")
	}
	if err != nil { // who may not read the operators' socket may run the other checks
		return []Finding{{OK: true, What: "sources of addresses", Saw: "not looked at: " + err.Error()}}
	}
	if len(e.Sources) == 0 {
		return []Finding{{OK: true, What: "sources of addresses", Saw: "there is none: this node waits to be found"}}
	}
	list := make([]Finding, 0, len(e.Sources))
	for _, s := range e.Sources {
		f := Finding{OK: true, What: "source " + s.Source, Saw: fmt.Sprintf("names %d addresses, last %s", s.Vouched, ago(s.LastSuccess))}
		switch {
		case s.State == "failing":
			f.OK, f.Saw = false, fmt.Sprintf("fails since %s: %s", shortTime(time.Since(s.Failing)), s.LastError)
			f.Fix = mend[s.LastClass]
			if s.LastClass == "auth" && len(s.Rights) > 0 {
				f.Fix += ": it needs " + strings.Join(s.Rights, ", ")
			}
		case s.State == "doubtful":
			f.OK, f.Saw = false, fmt.Sprintf("%s; %d withdrawals are held back", s.HeldWhy, s.Held)
			f.Fix = "if the answer is right, wait for discovery.grace; `starling discover` shows it"
		case s.SelfMissing:
			f.OK, f.Saw = false, f.Saw+", but not this node"
			f.Fix = "is its selector, name or port right? `starling discover` shows what it names and what it left out"
		case s.State == "starting":
			f.OK, f.Saw = false, "has not answered yet"
			f.Fix = "wait a moment; if it stays so, `starling discover` shows why"
		case s.Vouched == 0:
			f.OK, f.Saw = false, "names nobody"
			f.Fix = "nobody can be found by it: `starling discover` shows what it left out, and why"
		}
		list = append(list, f)
	}
	return list
}

// mend says what to do about a source that fails, by the class of its error. What it said before is kept meanwhile.
var mend = map[string]string{
	"unavailable": "is what it asks running, and reachable from here? What it said before is kept meanwhile",
	"auth":        "it was refused: look at its credentials and rights",
	"not_found":   "what it asks for does not exist: compare its options in the configuration",
	"timeout":     "it does not answer in time: is the way to it open, or the server overloaded?",
	"throttled":   "it was told to slow down: a longer refresh, or fewer who ask",
	"config":      "its options, or what it reads, make no sense; the error says which",
}
