package ask

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// Members is `starling members`.
func Members() *cobra.Command {
	c := &cobra.Command{
		Use:     "members",
		Short:   "Whom this sidecar knows",
		Long:    "Lists the members as this sidecar knows them, or says why it knows one as it does: who vouched for its address, since\nwhen, what became of it, and what others say of it. That takes the operators' socket.",
		Example: "  starling members --gone\n  starling members --group cache -o json\n  starling members --why cart-1        # a name, an ID, an address, or a part of one",
		Args:    cobra.NoArgs,
	}
	socket := socketFlag(c)
	t := targetFlags(c)
	gone := c.Flags().Bool("gone", false, "also those that are down or have left")
	about := c.Flags().String("why", "", "the chain of evidence about one member or address")
	completeFlag(c, "why", nodeNames)
	admin := c.Flags().String("admin-socket", "", "with --why: the operators' socket (default: $STARLING_ADMIN_SOCKET, else admin.sock beside the other)")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *about != "" {
			return why(c, *admin, *socket, *about, *output)
		}
		return withClient(c, *socket, func(ctx context.Context, sidecar *client.Client) error {
			opts := t.options()
			if *gone {
				opts = append(opts, client.IncludeGone())
			}
			members, snapshot, err := sidecar.Members(ctx, opts...)
			if err != nil {
				return err
			}
			if *output == "json" {
				return term.WriteJSON(c.OutOrStdout(), "members", membersForScripts(members))
			}
			printMembers(c.OutOrStdout(), members, snapshot)
			return nil
		})
	}
	return c
}

// PrintMembers shows all that a sidecar knows, the gone ones too.
func PrintMembers(ctx context.Context, w io.Writer, sidecar *client.Client) error {
	members, snapshot, err := sidecar.Members(ctx, client.IncludeGone())
	if err == nil {
		printMembers(w, members, snapshot)
	}
	return err
}

func printMembers(w io.Writer, members []client.Member, s client.Snapshot) {
	t := term.NewTable("name", "status", "id", "address", "zone", "link", "handlers")
	for _, m := range members {
		link := ""
		switch {
		case m.Self:
			link = "self"
		case m.Linked:
			link = "yes"
		}
		t.Row(m.Name, term.Paint(m.Status, statusColour(m.Status)), shortID(m.NodeID), strings.Join(m.Addresses, " "), m.Zone, link, few(m.Handlers))
	}
	t.Write(w)
	fmt.Fprintf(w, "\n%d members; last change %s ago; discovery %s", s.Size, shortTime(s.Age), s.Discovery)
	if s.Discovery == "differs" {
		fmt.Fprintf(w, " and expects %d", s.Expected)
	}
	fmt.Fprintln(w)
}

func statusColour(status string) term.Colour {
	switch status {
	case "alive":
		return term.Green
	case "suspect":
		return term.Yellow
	case "down":
		return term.Red
	default:
		return term.Faint
	}
}

// few is a list that a table can hold.
func few(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
}

func shortID(id string) string { return id[:min(8, len(id))] }

// scriptMember is a member as scripts read it.
type scriptMember struct {
	NodeID      string            `json:"node_id"`
	Name        string            `json:"name"`
	Status      string            `json:"status"`
	Incarnation uint64            `json:"incarnation"`
	Addresses   []string          `json:"addresses"`
	Zone        string            `json:"zone"`
	Tags        map[string]string `json:"tags"`
	Groups      []string          `json:"groups"`
	Handlers    []string          `json:"handlers"`
	Self        bool              `json:"self"`
	Linked      bool              `json:"linked"`
}

// membersForScripts has empty lists where there are none: scripts need not tell null from [].
func membersForScripts(members []client.Member) []scriptMember {
	list := make([]scriptMember, 0, len(members))
	for _, m := range members {
		s := scriptMember(m)
		s.Addresses, s.Groups, s.Handlers = orEmpty(s.Addresses), orEmpty(s.Groups), orEmpty(s.Handlers)
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		list = append(list, s)
	}
	return list
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
