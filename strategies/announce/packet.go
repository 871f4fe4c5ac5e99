package announce

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// A packet, all numbers big-endian:
//
//	 0  4  "STA1"
//	 4 16  boot: chance, made when the sender started; new with each start
//	20  8  sequence: 1, 2, … of the boot
//	28  …  sealed: AES-256-GCM of the announcement, with its tag of 16 bytes
//
// The key is HKDF-SHA256 (RFC 5869) of a key of the ring, with the boot as salt
// and "starling announce 1 " and the cluster's name as info; the nonce is 4 zero
// bytes and the sequence; the 28 bytes before are authenticated. So no nonce is
// ever used twice with a key, however many nodes share the ring, and packets of
// another cluster do not open even if its ring is the same.
//
// An announcement, which is read only after the packet has opened:
//
//	 0  1  version, 1
//	 1  8  when it was sent, Unix time in milliseconds
//	 9  4  interval in milliseconds: when the next can be expected
//	13  1  flags: 1 leaving
//	14  …  node ID, name, zone: each a length of 1 byte and the text
//	    1  number of addresses, 1 to 16; 0 only when leaving
//	    …  each a length of 1 byte and "host:port"
const (
	magic   = "STA1"
	bootLen = 16
	headLen = len(magic) + bootLen + 8
	tagLen  = 16
	// packetMax fits an IPv6 packet that no link breaks up (RFC 8200, 5).
	packetMax = 1200
	addrsMax  = 16

	version     = 1
	flagLeaving = 1
	fixedLen    = 14
)

type boot [bootLen]byte

// announcement is what one node says of itself.
type announcement struct {
	boot boot
	seq  uint64

	sent             time.Time // to the millisecond
	interval         time.Duration
	leaving          bool
	node, name, zone string
	addrs            []string
}

var (
	errStrange = errors.New("no packet of ours")
	errSealed  = errors.New("no key opens it")
	errBroken  = errors.New("sealed by a key of ours, and makes no sense")
)

// seal makes a packet. What does not fit is left out, addresses last.
func seal(key []byte, cluster string, a announcement) []byte {
	p := make([]byte, 0, packetMax)
	p = append(p, magic...)
	p = append(p, a.boot[:]...)
	p = binary.BigEndian.AppendUint64(p, a.seq)
	return aead(key, cluster, a.boot).Seal(p, nonce(a.seq), a.append(nil), p)
}

// open reads a packet, with the key that opens it. Nothing of the sealed part is
// looked at before.
func open(keys [][]byte, cluster string, p []byte) (announcement, error) {
	var a announcement
	if len(p) < headLen+tagLen || len(p) > packetMax || string(p[:len(magic)]) != magic {
		return a, errStrange
	}
	copy(a.boot[:], p[len(magic):])
	a.seq = binary.BigEndian.Uint64(p[len(magic)+bootLen:])
	for _, key := range keys {
		text, err := aead(key, cluster, a.boot).Open(nil, nonce(a.seq), p[headLen:], p[:headLen])
		if err != nil {
			continue
		}
		if !a.read(text) {
			return a, errBroken
		}
		return a, nil
	}
	return a, errSealed
}

func aead(key []byte, cluster string, b boot) cipher.AEAD {
	derived, err := hkdf.Key(sha256.New, key, b[:], "starling announce 1 "+cluster, 32)
	if err != nil {
		panic(err) // only for lengths that we do not ask for
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // likewise
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func nonce(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), seq)
}

// append writes an announcement.
func (a announcement) append(b []byte) []byte {
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, uint64(a.sent.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, uint32(a.interval.Milliseconds()))
	flags := byte(0)
	if a.leaving {
		flags |= flagLeaving
	}
	b = append(b, flags)
	for _, s := range []string{a.node, a.name, a.zone} {
		s = s[:min(len(s), 255)]
		b = append(append(b, byte(len(s))), s...)
	}
	at := len(b)
	b = append(b, 0)
	for _, s := range a.addrs[:min(len(a.addrs), addrsMax)] {
		if len(s) > 255 || headLen+len(b)+1+len(s)+tagLen > packetMax {
			continue
		}
		b = append(append(b, byte(len(s))), s...)
		b[at]++
	}
	return b
}

// read is the inverse of append: it takes exactly what append writes.
func (a *announcement) read(b []byte) bool {
	if len(b) < fixedLen || b[0] != version || b[13]&^flagLeaving != 0 {
		return false
	}
	a.sent = time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:])))
	a.interval = time.Duration(binary.BigEndian.Uint32(b[9:])) * time.Millisecond
	a.leaving = b[13] == flagLeaving
	b = b[fixedLen:]
	ok := true
	text := func() string {
		if !ok || len(b) == 0 || len(b) < 1+int(b[0]) {
			ok = false
			return ""
		}
		s := string(b[1 : 1+int(b[0])])
		b = b[1+len(s):]
		return s
	}
	a.node, a.name, a.zone = text(), text(), text()
	if !ok || len(b) == 0 || b[0] > addrsMax {
		return false
	}
	n := int(b[0])
	b = b[1:]
	a.addrs = slices.Grow([]string(nil), n)
	for range n {
		a.addrs = append(a.addrs, text())
	}
	return ok && len(b) == 0 && (n > 0 || a.leaving)
}
