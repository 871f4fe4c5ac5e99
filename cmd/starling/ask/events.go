package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// Events is `starling events`.
func Events() *cobra.Command {
	c := &cobra.Command{
		Use:   "events",
		Short: "Watch members come and go, or a topic's messages",
		Long: `Prints every change of the members as it happens, until Ctrl-C; with --topic the messages published to it, and where
some were missed. With -o json one object a line.`,
		Example: "  starling events\n  starling events --topic prices -o json",
		Args:    cobra.NoArgs,
	}
	socket := socketFlag(c)
	topic := c.Flags().String("topic", "", "hear this topic's messages instead")
	count := c.Flags().Int("count", 0, "end after so many (0: never)")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		p := eventPrinter{w: c.OutOrStdout(), json: *output == "json", left: *count}
		return withClient(c, *socket, func(ctx context.Context, sidecar *client.Client) error {
			if *topic != "" {
				return p.messages(ctx, sidecar, *topic)
			}
			return p.changes(ctx, sidecar)
		})
	}
	return c
}

// An eventPrinter prints until it has printed enough.
type eventPrinter struct {
	w    io.Writer
	json bool
	left int // 0 is for ever
}

// print writes one event and tells whether to go on.
func (p *eventPrinter) print(object any, format string, args ...any) bool {
	if p.json {
		if err := json.NewEncoder(p.w).Encode(object); err != nil {
			return false
		}
	} else {
		fmt.Fprintf(p.w, "%s  %s\n", time.Now().Format("15:04:05.000"), term.Visible(fmt.Sprintf(format, args...)))
	}
	p.left--
	return p.left != 0
}

func (p *eventPrinter) changes(ctx context.Context, sidecar *client.Client) error {
	for u, err := range sidecar.Watch(ctx) {
		if err != nil {
			return err
		}
		for _, m := range u.Snapshot {
			if !p.change(u.Revision, "known", m) {
				return nil
			}
		}
		for _, ch := range u.Changes {
			if !p.change(u.Revision, ch.Event, ch.Member) {
				return nil
			}
		}
	}
	return nil
}

func (p *eventPrinter) change(revision uint64, event string, m client.Member) bool {
	return p.print(struct {
		Version  int          `json:"version"`
		Event    string       `json:"event"`
		Revision uint64       `json:"revision"`
		Member   scriptMember `json:"member"`
	}{term.JSONVersion, event, revision, membersForScripts([]client.Member{m})[0]},
		"%-8s %-20s %-8s %s", event, m.Name, m.Status, shortID(m.NodeID))
}

func (p *eventPrinter) messages(ctx context.Context, sidecar *client.Client, topic string) error {
	for e, err := range sidecar.Subscribe(ctx, topic) {
		if err != nil {
			return err
		}
		object := struct {
			Version int            `json:"version"`
			Origin  string         `json:"origin"`
			Gap     uint64         `json:"gap,omitempty"`
			Reason  string         `json:"reason,omitempty"`
			Payload *scriptPayload `json:"payload,omitempty"`
		}{term.JSONVersion, e.Origin, e.Gap, e.Reason, nil}
		text := payloadText(e.Payload)
		if e.Gap > 0 {
			text = fmt.Sprintf("%d missed: %s", e.Gap, e.Reason)
		} else {
			object.Payload = payloadForScripts(e.Payload)
		}
		if !p.print(object, "%-20s %s", e.Origin, text) {
			return nil
		}
	}
	return nil
}
