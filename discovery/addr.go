package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Bounds on one candidate. A source is not trusted to be sane.
const (
	keyMax    = 512
	addrsMax  = 16
	labelsMax = 32
	hostMax   = 253 // RFC 1035, 2.3.4, without the dots at the ends
)

// ParseAddr checks "host:port" and returns its one canonical form (IPv4 not
// mapped into IPv6, host names in lower case without the last dot), so that
// addresses from several sources compare equal as strings.
func ParseAddr(s string) (string, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("address %q: want host:port, as in 10.0.0.1:7000, [fd00::1]:7000 or db-0.example:7000", s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return "", fmt.Errorf("address %q: port %q is not a number from 1 to 65535", s, portText)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
			return "", fmt.Errorf("address %q: nobody can be dialled at %s", s, ip)
		}
		return netip.AddrPortFrom(ip, uint16(port)).String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if err := checkHost(name); err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	return net.JoinHostPort(name, portText), nil
}

func checkHost(name string) error {
	if name == "" || len(name) > hostMax {
		return errors.New("host name is empty or longer than 253 bytes")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host name %q has an empty or too long part", name)
		}
	}
	// Underscores are no host names by the letter of RFC 952, but are in use.
	if i := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}); i >= 0 {
		return fmt.Errorf("host name %q must not contain %q", name, name[i:i+1])
	}
	return nil
}

// normal returns c with canonical, distinct addresses and within the bounds, or
// why it cannot be used.
func (c Candidate) normal() (Candidate, error) {
	if c.Key == "" || len(c.Key) > keyMax {
		return c, fmt.Errorf("key is empty or longer than %d bytes", keyMax)
	}
	var addrs []string
	var firstErr error
	for _, a := range c.Addrs {
		addr, err := ParseAddr(a)
		if err != nil && firstErr == nil {
			firstErr = err
		}
		if err == nil && !slices.Contains(addrs, addr) && len(addrs) < addrsMax {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		if firstErr == nil {
			firstErr = errors.New("it has no address")
		}
		return c, firstErr
	}
	c = c.Clone()
	c.Addrs = addrs
	if len(c.Labels) > labelsMax {
		zone, ok := c.Labels[LabelZone]
		c.Labels = map[string]string{}
		if ok {
			c.Labels[LabelZone] = zone
		}
	}
	return c, nil
}
