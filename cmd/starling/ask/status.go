package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Status is `starling status`.
func Status() *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "How this sidecar is",
		Example: "  starling status\n  starling status -o json | jq .data.links",
		Args:    cobra.NoArgs,
	}
	socket := socketFlag(c)
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withClient(c, *socket, func(ctx context.Context, sidecar *client.Client) error {
			s, err := sidecar.Status(ctx)
			if err != nil {
				return err
			}
			if *output == "json" {
				text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(s)
				if err != nil {
					return fmt.Errorf("status as JSON: %w", err)
				}
				return term.WriteJSON(c.OutOrStdout(), "status", json.RawMessage(text))
			}
			printStatus(c.OutOrStdout(), s, sidecar.Socket())
			return nil
		})
	}
	return c
}

func printStatus(w io.Writer, s *starlingv1.GetStatusResponse, socket string) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	self := s.GetSelf()
	line("node", "%s (%s)", self.GetName(), self.GetNodeId())
	line("address", "%s", strings.Join(self.GetAddresses(), " "))
	line("socket", "%s", socket)
	line("version", "%s, up %s", s.GetVersion(), shortTime(s.GetUptime().AsDuration()))
	line("members", "%d alive, %d suspect, %d down, %d left; unchanged for %s",
		s.GetAlive(), s.GetSuspect(), s.GetDown(), s.GetLeft(), shortTime(s.GetStableFor().AsDuration()))
	line("links", "%d", s.GetLinks())
	line("majority", "%s", yesNo(s.GetMajority()))
	if s.GetDraining() {
		line("draining", "yes: it takes no new calls")
	}
	if apps := s.GetApplications(); len(apps) > 0 {
		fmt.Fprintln(w)
		t := term.NewTable("application", "uid", "serves", "topics", "groups", "open", "queued")
		for _, a := range apps {
			t.Row(a.GetName(), a.GetUid(), few(a.GetMethods()), few(a.GetTopics()), few(a.GetGroups()), a.GetOpen(), a.GetQueued())
		}
		t.Write(w)
	}
	counted := term.NewTable("counter", "since the start")
	for _, name := range slices.Sorted(maps.Keys(s.GetCounters())) {
		if n := s.GetCounters()[name]; n > 0 {
			counted.Row(name, n)
		}
	}
	if counted.Len() > 0 {
		fmt.Fprintln(w)
		counted.Write(w)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
