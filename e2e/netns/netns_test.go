package netns

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if err := Prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// pair is two hosts at two switches with a trunk, the first listening for datagrams.
func pair(t *testing.T) (n *Net, from *Host, heard net.PacketConn) {
	n = New(t)
	n.Switch("left")
	n.Switch("right")
	n.Trunk("left", "right")
	from, to := n.Host("a", "left", "10.77.0.1/24"), n.Host("b", "right", "10.77.0.2/24", "fd77::2/64")
	err := to.Do(func() (err error) {
		heard, err = net.ListenPacket("udp", "10.77.0.2:7000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heard.Close() })
	return n, from, heard
}

// arrives tells whether one of some datagrams comes through: the first may be lost while addresses are resolved.
func arrives(t *testing.T, from *Host, heard net.PacketConn, tries int) bool {
	t.Helper()
	var c net.Conn
	if err := from.Do(func() (err error) { c, err = net.Dial("udp", "10.77.0.2:7000"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	// Datagrams of before may still come: the kernel holds some back while it asks for a hardware address.
	mark := time.Now().Format(time.RFC3339Nano)
	for range tries {
		_, _ = c.Write([]byte(mark)) // an ICMP error of the one before is none of ours
		err := heard.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 99)
		for size := 0; err == nil; {
			if size, _, err = heard.ReadFrom(got); string(got[:size]) == mark {
				return true
			}
		}
	}
	return false
}

func TestWhatIsCutOrPulledIsSilentAndComesBack(t *testing.T) {
	n, from, heard := pair(t)
	for name, way := range map[string][2]func(){
		"cut":                     {func() { n.Cut("left", "right") }, n.Mend},
		"cut one way":             {func() { n.CutOneWay("left", "right") }, n.Mend},
		"the sender's cable":      {from.Pull, from.Plug},
		"both, and both are gone": {func() { n.Cut("right", "left"); from.Pull() }, func() { n.Mend(); from.Plug() }},
	} {
		if !arrives(t, from, heard, 100) {
			t.Fatalf("%s: nothing arrives before it", name)
		}
		way[0]()
		if arrives(t, from, heard, 3) {
			t.Errorf("%s: a datagram came through", name)
		}
		way[1]()
		if !arrives(t, from, heard, 100) {
			t.Errorf("%s: nothing arrives after it", name)
		}
	}
}

func TestACutOneWayLetsTheOtherWayThrough(t *testing.T) {
	n, from, heard := pair(t)
	if !arrives(t, from, heard, 100) { // so that both know each other's hardware address
		t.Fatal("nothing arrives")
	}
	n.CutOneWay("right", "left")
	if !arrives(t, from, heard, 3) {
		t.Error("the other way is cut as well")
	}
}

func TestACommandRunsAtTheHost(t *testing.T) {
	_, from, _ := pair(t)
	out, err := from.Command(t.Context(), "ip", "-br", "addr", "show", "eth0").Output()
	if err != nil || !containsAddress(string(out)) {
		t.Errorf("%v: %s", err, out)
	}
}

func containsAddress(s string) bool {
	var name, state, address string
	_, err := fmt.Sscan(s, &name, &state, &address)
	return err == nil && address == "10.77.0.1/24"
}
