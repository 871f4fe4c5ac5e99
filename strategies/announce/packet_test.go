package announce

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden packets")

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func sample() announcement {
	a := announcement{
		seq: 7, sent: time.UnixMilli(1_800_000_000_123), interval: 5 * time.Second,
		node: "00112233445566778899aabbccddeeff", name: "cart-0", zone: "eu-1a",
		addrs: []string{"10.0.0.1:7827", "[fd00::1]:7827"},
	}
	copy(a.boot[:], "sixteen bytes!!!")
	return a
}

func samples() map[string]announcement {
	bye := sample()
	bye.seq, bye.leaving, bye.addrs = 8, true, nil
	bare := sample()
	bare.name, bare.zone, bare.addrs = "", "", []string{"a:1"}
	return map[string]announcement{"usual": sample(), "leaving": bye, "bare": bare}
}

// TestPacketsStayAsTheyAre: a change of these bytes is a change of the protocol, and takes a new version.
func TestPacketsStayAsTheyAre(t *testing.T) {
	for name, a := range samples() {
		file := filepath.Join("testdata", name+".hex")
		p := seal(testKey(1), "shop", a)
		if *update {
			if err := os.WriteFile(file, []byte(hex.EncodeToString(p)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, golden) {
			t.Errorf("%s: the packet is\n%x, and was\n%x", name, p, golden)
		}
		got, err := open([][]byte{testKey(1)}, "shop", golden)
		if a.addrs == nil {
			got.addrs = nil
		}
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: opened as %+v, %v; want %+v", name, got, err, a)
		}
	}
}

func TestOnlyAHolderOfTheKeyOpensAndNothingCanBeChanged(t *testing.T) {
	p := seal(testKey(1), "shop", sample())
	if _, err := open([][]byte{testKey(2), testKey(1)}, "shop", p); err != nil {
		t.Errorf("the second key does not open: %v", err)
	}
	if _, err := open([][]byte{testKey(2)}, "shop", p); !errors.Is(err, errSealed) {
		t.Errorf("another key: %v", err)
	}
	if _, err := open([][]byte{testKey(1)}, "market", p); !errors.Is(err, errSealed) {
		t.Errorf("another cluster with the same key: %v", err)
	}
	for i := range p {
		bad := bytes.Clone(p)
		bad[i] ^= 1
		if _, err := open([][]byte{testKey(1)}, "shop", bad); err == nil {
			t.Errorf("byte %d was changed, and it opens", i)
		}
	}
	for n := range p {
		if _, err := open([][]byte{testKey(1)}, "shop", p[:n]); err == nil {
			t.Errorf("the first %d bytes open", n)
		}
	}
	if bytes.Contains(p, []byte("10.0.0.1")) || bytes.Contains(p, []byte("cart")) {
		t.Error("the packet shows what it says")
	}
}

func TestAPacketHasABoundWhateverIsSaid(t *testing.T) {
	a := sample()
	a.name, a.zone = strings.Repeat("n", 300), strings.Repeat("z", 300)
	a.addrs = nil
	for range 40 {
		a.addrs = append(a.addrs, strings.Repeat("a", 60)+":1")
	}
	p := seal(testKey(1), "shop", a)
	if len(p) > packetMax {
		t.Errorf("%d bytes", len(p))
	}
	got, err := open([][]byte{testKey(1)}, "shop", p)
	if err != nil || len(got.addrs) < 5 {
		t.Errorf("%d addresses, %v", len(got.addrs), err)
	}
}

// FuzzRead: what is sealed is read without panic, and what is read is what would be written.
func FuzzRead(f *testing.F) {
	for _, a := range samples() {
		f.Add(a.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a announcement
		if !a.read(b) {
			return
		}
		if again := a.append(nil); len(b) < packetMax-headLen-tagLen && !bytes.Equal(again, b) {
			t.Errorf("read %x, wrote %x", b, again)
		}
	})
}

// FuzzOpen: no packet of a stranger does anything.
func FuzzOpen(f *testing.F) {
	for _, a := range samples() {
		f.Add(seal(testKey(1), "shop", a))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := open([][]byte{testKey(2), testKey(3)}, "shop", p); err == nil {
			t.Error("it opens")
		}
	})
}
