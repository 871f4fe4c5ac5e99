package ask

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// A Finding is one thing that was looked at.
type Finding struct {
	OK   bool   `json:"ok"`
	What string `json:"what"`
	Saw  string `json:"saw"`
	Fix  string `json:"fix,omitempty"` // what to do, if it is not ok
}

// Check is `starling check`, for a command of this version. sources looks through the sources of a configuration.
func Check(version string, sources func(ctx context.Context, file string) ([]Finding, error)) *cobra.Command {
	c := &cobra.Command{
		Use:     "check",
		Short:   "Look for what is wrong, and say what to do",
		Long:    "Looks at this sidecar and its cluster. Each finding comes with what to do; exit code 6 if there is any.",
		Example: "  starling check\n  starling check --expect 5 -o json\n  starling check -c starling.yaml   # also ask each source, and for our rights",
		Args:    cobra.NoArgs,
	}
	socket := socketFlag(c)
	expect := c.Flags().Int("expect", 0, "members there should be (0: as many as discovery expects)")
	admin := c.Flags().String("admin-socket", "", "the operators' socket, for the sources of addresses (default: $STARLING_ADMIN_SOCKET, else admin.sock beside the other)")
	file := c.Flags().StringP("config", "c", "", "look through the sources of this configuration, too")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withClient(c, *socket, func(ctx context.Context, sidecar *client.Client) error {
			findings, err := examine(ctx, sidecar, version, *expect)
			if err != nil {
				return err
			}
			findings = append(findings, checkSources(ctx, *admin, *socket)...)
			if *file != "" {
				more, err := sources(ctx, *file)
				if err != nil {
					return err
				}
				findings = append(findings, more...)
			}
			return printFindings(c.OutOrStdout(), *output, findings)
		})
	}
	return c
}

func examine(ctx context.Context, sidecar *client.Client, version string, expect int) ([]Finding, error) {
	s, err := sidecar.Status(ctx)
	if err != nil {
		return nil, err
	}
	pinged, err := sidecar.Multicall(ctx, pingMethod, client.Payload{}, client.Timeout(3*time.Second))
	if err != nil {
		return nil, err
	}
	findings := []Finding{
		{OK: true, What: "a sidecar answers", Saw: fmt.Sprintf("%s at %s", sidecar.Node().Name, sidecar.Socket())},
		checkVersion(s, version), checkDiscovery(s, expect), checkLinks(s), checkMajority(s), checkSuspects(s), checkDraining(s),
		checkCoverage(pinged), checkApplications(s),
	}
	return findings, nil
}

func checkVersion(s *starlingv1.GetStatusResponse, version string) Finding {
	return Finding{
		OK: s.GetVersion() == version, What: "this command and the sidecar have one version",
		Saw: fmt.Sprintf("sidecar %s, command %s", s.GetVersion(), version), Fix: "use the command that came with the sidecar",
	}
}

func checkDiscovery(s *starlingv1.GetStatusResponse, expect int) Finding {
	alive, snap := int(s.GetAlive()+s.GetSuspect()), s.GetSnapshot()
	f := Finding{What: "as many members as there should be", Fix: "compare `starling discover` with `starling members`: what is missing from which? Then look at the missing node's log for refused handshakes"}
	switch {
	case expect > 0:
		f.OK, f.Saw = alive == expect, fmt.Sprintf("%d alive, %d wanted", alive, expect)
	case snap.GetDiscovery() == starlingv1.DiscoveryView_DISCOVERY_VIEW_DIFFERS:
		f.Saw = fmt.Sprintf("%d alive, discovery expects %d", alive, snap.GetExpected())
	default:
		f.OK, f.Saw = true, fmt.Sprintf("%d alive", alive)
	}
	return f
}

func checkLinks(s *starlingv1.GetStatusResponse) Finding {
	others := int(s.GetAlive()+s.GetSuspect()) - 1
	return Finding{
		OK: others <= 0 || s.GetLinks() >= uint32(min(others, 2)), What: "links to others",
		Saw: fmt.Sprintf("%d links, %d others alive", s.GetLinks(), max(others, 0)),
		Fix: "can this machine dial the addresses in `starling members`? A firewall or a wrong `advertise` is the usual reason",
	}
}

func checkMajority(s *starlingv1.GetStatusResponse) Finding {
	return Finding{
		OK: s.GetMajority(), What: "the larger side", Saw: fmt.Sprintf("%d alive, %d down", s.GetAlive(), s.GetDown()),
		Fix: "this node sees fewer than half of the members: it is cut off, or the others are",
	}
}

func checkSuspects(s *starlingv1.GetStatusResponse) Finding {
	return Finding{
		OK: s.GetSuspect() == 0, What: "nobody is suspected", Saw: fmt.Sprintf("%d suspected", s.GetSuspect()),
		Fix: "`starling members` names them; a machine without CPU time or a lossy network looks like that",
	}
}

func checkDraining(s *starlingv1.GetStatusResponse) Finding {
	return Finding{OK: !s.GetDraining(), What: "takes calls", Saw: "draining: " + yesNo(s.GetDraining()), Fix: "somebody asked it to drain; undo it or end it"}
}

func checkCoverage(a *client.Answer) Finding {
	f := Finding{OK: len(a.Failed()) == 0, What: "every sidecar answers a ping", Saw: fmt.Sprintf("%d of %d in %s", a.Summary.Replied, a.Summary.Asked, shortTime(a.Summary.Elapsed))}
	if !f.OK {
		first := a.Failed()[0]
		f.Fix = fmt.Sprintf("%s: %s, %s; `starling ping` tells of all", first.Name, first.Verdict, first.Reason)
	}
	return f
}

func checkApplications(s *starlingv1.GetStatusResponse) Finding {
	stuck := ""
	for _, a := range s.GetApplications() {
		if a.GetQueued() > 0 && a.GetOpen() > 0 {
			stuck = fmt.Sprintf("%s has %d requests open and %d waiting", a.GetName(), a.GetOpen(), a.GetQueued())
		}
	}
	f := Finding{OK: stuck == "", What: "applications keep up", Saw: fmt.Sprintf("%d connected", len(s.GetApplications()))}
	if !f.OK {
		f.Saw, f.Fix = stuck, "its handlers are slower than its callers: more concurrency, or fewer calls"
	}
	return f
}

func printFindings(w io.Writer, format string, findings []Finding) error {
	bad := 0
	for i := range findings {
		if findings[i].OK {
			findings[i].Fix = ""
		} else {
			bad++
		}
	}
	if format == "json" {
		if err := term.WriteJSON(w, "findings", findings); err != nil {
			return err
		}
	} else {
		t := term.NewTable("", "what", "saw")
		for _, f := range findings {
			if f.OK {
				t.Row(term.Paint("ok", term.Green), f.What, f.Saw)
				continue
			}
			t.Row(term.Paint("no", term.Red), f.What, f.Saw)
			for line := range strings.Lines(f.Fix) {
				t.Note("      > " + strings.TrimSuffix(line, "\n"))
			}
		}
		t.Write(w)
	}
	if bad > 0 {
		return term.Exit{Code: term.Findings}
	}
	return nil
}
