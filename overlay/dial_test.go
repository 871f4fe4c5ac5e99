package overlay

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// A node with another key is alone, and only its log can say why.
func TestAFailedDialThatSomebodyMustMendIsLoggedOnce(t *testing.T) {
	otherKey, err := keys.FromKeys("test", keys.New())
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	b := newNode(t, "b")
	for name, test := range map[string]struct {
		change func(*Config)
		expect peer.ID
		addr   string
		linked bool
		says   string // empty: nothing at the default level
	}{
		"a wrong key":                          {change: func(c *Config) { c.Keys = otherKey }, addr: b.Addr().String(), says: "security.key"},
		"another cluster":                      {change: func(c *Config) { c.Cluster = "other" }, addr: b.Addr().String(), says: "cluster"},
		"a contact that is not there":          {addr: closed.Addr().String(), says: "cannot be reached"},
		"a member that is not there":           {expect: peer.ID{1}, addr: closed.Addr().String()},
		"a contact that is not there any more": {linked: true, addr: closed.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			a := newLoggedNode(t, "a", slog.New(slog.NewTextHandler(&said, nil)), func(c *Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			if test.linked {
				a.linkTo(b)
			}
			for range 3 {
				a.dials(proto.LinkOverlay, test.expect, test.addr)
			}
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			lines := strings.Count(said.String(), "addr="+test.addr+" why=")
			switch {
			case test.says == "" && lines > 0:
				t.Errorf("logged although nobody can mend it:\n%s", said.String())
			case test.says != "" && (lines != 1 || !strings.Contains(said.String(), test.says)):
				t.Errorf("%d lines, want one that says %q:\n%s", lines, test.says, said.String())
			}
		})
	}
}
