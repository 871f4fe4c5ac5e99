package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// asking are the flags that all asking commands share.
type asking struct {
	socket      *string
	timeout     *time.Duration
	contentType *string
	metadata    *map[string]string
	targets     targets
}

// targets are the flags that say who is asked.
type targets struct {
	nodes                *[]string
	zone, group, serving *string
	tags                 *map[string]string
	sample               *int
	exceptSelf           *bool
}

func askFlags(c *cobra.Command) asking {
	f := c.Flags()
	return asking{
		socket:      socketFlag(c),
		timeout:     term.DurationFlag(c, "timeout", 5*time.Second, "the whole time that may pass"),
		contentType: f.String("content-type", "", "of the payload (default: application/json if it is JSON, else text/plain)"),
		metadata:    f.StringToString("metadata", nil, "pairs for the handlers, e.g. traceparent=…"),
	}
}

func targetFlags(c *cobra.Command) targets {
	f := c.Flags()
	t := targets{
		nodes:      f.StringSlice("node", nil, "only these, by name or ID"),
		zone:       f.String("zone", "", "only members in this zone"),
		group:      f.String("group", "", "only members of this group"),
		serving:    f.String("serving", "", "only members that announce a handler for this method"),
		tags:       f.StringToString("tag", nil, "only members with this tag, key=value"),
		sample:     f.Int("sample", 0, "so many of them, drawn at random (0: all)"),
		exceptSelf: f.Bool("except-self", false, "not the sidecar that is asked to ask"),
	}
	completeFlag(c, "node", nodeNames)
	completeFlag(c, "serving", methodNames)
	return t
}

func (a asking) options() []client.CallOption {
	opts := []client.CallOption{client.Timeout(*a.timeout)}
	for k, v := range *a.metadata {
		opts = append(opts, client.Metadata(k, v))
	}
	return append(opts, a.targets.options()...)
}

func (t targets) options() []client.CallOption {
	var opts []client.CallOption
	if t.nodes == nil {
		return nil // a command without a choice of targets
	}
	if len(*t.nodes) > 0 {
		opts = append(opts, client.To(*t.nodes...))
	}
	if *t.zone != "" {
		opts = append(opts, client.InZone(*t.zone))
	}
	if *t.group != "" {
		opts = append(opts, client.InGroup(*t.group))
	}
	if *t.serving != "" {
		opts = append(opts, client.Serving(*t.serving))
	}
	for k, v := range *t.tags {
		opts = append(opts, client.Tagged(k, v))
	}
	if *t.sample > 0 {
		opts = append(opts, client.Sample(*t.sample))
	}
	if *t.exceptSelf {
		opts = append(opts, client.ExceptSelf())
	}
	return opts
}

// payload reads the argument: text, @FILE, or @- for standard input; nothing is an empty payload.
func (a asking) payload(stdin io.Reader, args []string) (client.Payload, error) {
	if len(args) == 0 {
		return client.Payload{ContentType: *a.contentType}, nil
	}
	data, err := []byte(args[0]), error(nil)
	if name, isFile := strings.CutPrefix(args[0], "@"); isFile && name == "-" {
		data, err = io.ReadAll(stdin)
	} else if isFile {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return client.Payload{}, fmt.Errorf("read the payload: %w", err)
	}
	kind := *a.contentType
	switch {
	case kind != "":
	case json.Valid(data):
		kind = "application/json"
	default:
		kind = "text/plain; charset=utf-8"
	}
	return client.Payload{Data: data, ContentType: kind}, nil
}

// payloadHelp is the same for all commands that take one.
const payloadHelp = "\n\nPAYLOAD is text, @FILE, or @- for standard input."

// Multicall is `starling multicall`.
func Multicall() *cobra.Command {
	c := &cobra.Command{
		Use:   "multicall METHOD [PAYLOAD]",
		Short: "Ask every member; one verdict for each",
		Long: "Asks every member, or those selected, and prints what became of it at each. Exit code 0 if all replied, 3 if\n" +
			"some did, 4 if none did." + payloadHelp,
		Example: "  starling multicall demo.echo hello\n  starling multicall cache.size --group cache -o json\n  starling multicall report.run @params.json --stream --timeout 1m",
		Args:    cobra.RangeArgs(1, 2),

		ValidArgsFunction: completeArgs(methodNames),
	}
	a := askFlags(c)
	a.targets = targetFlags(c)
	replies := c.Flags().Int("min-replies", 0, "be content with so many (0: wait for all)")
	stream := c.Flags().Bool("stream", false, "print each verdict when it comes")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		p, err := a.payload(c.InOrStdin(), args[1:])
		if err != nil {
			return err
		}
		opts := append(a.options(), client.MinReplies(*replies))
		return withClient(c, *a.socket, func(ctx context.Context, sidecar *client.Client) error {
			if *stream {
				return streamVerdicts(ctx, c.OutOrStdout(), *output, sidecar, args[0], p, opts)
			}
			answer, err := sidecar.Multicall(ctx, args[0], p, opts...)
			if err != nil {
				return err
			}
			return printAnswer(c.OutOrStdout(), *output, answer)
		})
	}
	return c
}

// streamVerdicts prints a line for each verdict as it arrives.
func streamVerdicts(ctx context.Context, w io.Writer, format string, sidecar *client.Client, method string, p client.Payload, opts []client.CallOption) error {
	var a client.Answer
	for v, err := range sidecar.MulticallStream(ctx, method, p, opts...) {
		if err != nil {
			return err
		}
		if !v.Extra {
			a.Verdicts = append(a.Verdicts, v)
		}
		if format == "json" {
			if err := json.NewEncoder(w).Encode(verdictForScripts(v)); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%-9s %-20s %-13s %-6s %s\n", shortTime(v.Elapsed), v.Name, v.Verdict, v.Executed, term.Visible(gist(v)))
	}
	return verdictCode(&a)
}

// Call is `starling call`.
func Call() *cobra.Command {
	c := &cobra.Command{
		Use:     "call NODE METHOD [PAYLOAD]",
		Short:   "Ask one member",
		Long:    "Asks one member, by name or ID, or the owner of a key, and prints its verdict." + payloadHelp,
		Example: "  starling call cart-0 demo.echo hello\n  starling call --key user:42 --group cache cache.get user:42",
		Args:    cobra.RangeArgs(1, 3),

		ValidArgsFunction: completeArgs(nodeNames, methodNames),
	}
	one := oneFlags(c, "ask")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		to, err := one.read(c, args)
		if err != nil {
			return err
		}
		return withClient(c, *one.socket, func(ctx context.Context, sidecar *client.Client) error {
			v, err := sidecar.Call(ctx, to.node, to.method, to.payload, to.options...)
			if err != nil {
				return err
			}
			return printOne(c.OutOrStdout(), *output, *v)
		})
	}
	return c
}

// oneAsking is asking one member: by name, by ID, or as the owner of a key.
type oneAsking struct {
	asking
	key, group *string
}

func oneFlags(c *cobra.Command, verb string) oneAsking {
	return oneAsking{
		asking: askFlags(c),
		key:    c.Flags().String("key", "", verb+" the member that owns this key, in place of NODE"),
		group:  c.Flags().String("group", "", "with --key: among the members of this group"),
	}
}

// toOne is what is said to one member.
type toOne struct {
	node, method string
	payload      client.Payload
	options      []client.CallOption
}

// read takes it from the command line.
func (a oneAsking) read(c *cobra.Command, args []string) (toOne, error) {
	node, rest, err := oneTarget(args, *a.key)
	if err != nil {
		return toOne{}, err
	}
	p, err := a.payload(c.InOrStdin(), rest[1:])
	if err != nil {
		return toOne{}, err
	}
	options := a.options()
	if *a.key != "" {
		options = append(options, client.OwnerOf(*a.group, *a.key))
	}
	return toOne{node: node, method: rest[0], payload: p, options: options}, nil
}

// oneTarget splits NODE METHOD [PAYLOAD]; with a key there is no NODE.
func oneTarget(args []string, key string) (node string, rest []string, err error) {
	if key != "" {
		if len(args) > 2 {
			return "", nil, term.Usagef("--key takes the place of NODE: give METHOD [PAYLOAD]")
		}
		return "", args, nil
	}
	if len(args) < 2 {
		return "", nil, term.Usagef("want NODE METHOD [PAYLOAD]")
	}
	return args[0], args[1:], nil
}

// printOne prints a good answer as it is, for pipes, and anything else as a verdict.
func printOne(w io.Writer, format string, v client.NodeVerdict) error {
	code := verdictCode(&client.Answer{Verdicts: []client.NodeVerdict{v}})
	switch {
	case format == "json":
		if err := term.WriteJSON(w, "verdict", verdictForScripts(v)); err != nil {
			return err
		}
	case v.OK():
		if _, err := w.Write(v.Payload.Data); err != nil {
			return err
		}
		if term.IsTerminal(w) && !strings.HasSuffix(string(v.Payload.Data), "\n") {
			fmt.Fprintln(w)
		}
	default:
		t := verdictTable()
		verdictRow(t, v)
		t.Write(w)
	}
	return code
}
