package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/starlingmesh/starling/overlay/keys"
)

// socketMax is how long a unix socket's path can be: sun_path less the closing zero (unix(7)).
const socketMax = 107

// Validate tells what is missing and what does not fit together. file is for the messages.
func (c *Config) Validate(file string) error {
	v := validation{file: file}
	if c.Cluster == "" {
		v.add("cluster", "is mandatory: choose a name that no other cluster of yours has")
	}
	v.text("cluster", c.Cluster, clusterMax)
	v.text("name", c.Name, 255)
	v.address("listen", c.Listen, true)
	v.address("advertise", c.Advertise, false)
	v.address("http.listen", c.HTTP.Listen, true)
	v.socket("api.socket", c.API.Socket)
	v.socket("admin.socket", c.Admin.Socket)
	if mode, err := strconv.ParseUint(c.API.Mode, 8, 32); err != nil || mode > 0o777 {
		v.add("api.mode", "wants octal permissions such as 0660, not %q", c.API.Mode)
	}
	c.Security.validate(&v, c.Listen)
	c.Discovery.validate(&v)
	if len(v.problems) > 0 {
		return v.problems
	}
	return nil
}

func (s *Security) validate(v *validation, listen string) {
	files := 0
	for _, f := range []string{s.CertificateFile, s.KeyFile, s.AuthorityFile} {
		if f != "" {
			files++
		}
	}
	ways := 0
	for _, given := range []bool{s.Key != "", files > 0, s.Insecure} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		v.add("security", "needs a key (`starling keygen` makes one) or certificate_file, key_file and authority_file")
	case ways > 1:
		v.add("security", "has more than one of key, certificate files and insecure: choose one")
	case files > 0 && files < 3:
		v.add("security", "certificate_file, key_file and authority_file belong together")
	}
	v.key("security.key", s.Key)
	v.key("security.accept_key", s.AcceptKey)
	if s.Insecure && !loopback(listen) {
		v.add("security.insecure", "is for loopback addresses only, and listen is %q", listen)
	}
	if s.Identity == "per_node" && files == 0 {
		v.add("security.identity", "per_node needs certificates: with a pre-shared key a name is a claim")
	}
}

func (d *Discovery) validate(v *validation) {
	names := map[string]int{}
	for i, s := range d.Sources {
		key := fmt.Sprintf("discovery.sources[%d]", i)
		if first, taken := names[s.Label()]; taken {
			v.add(key+".name", "%q is the name of discovery.sources[%d] already: give each its own", s.Label(), first)
		}
		names[s.Label()] = i
		if err := s.Options.Validate(); err != nil {
			for line := range strings.Lines(err.Error()) {
				v.add(key, "%s", strings.TrimSpace(line))
			}
		}
	}
	if d.ContactsMax > d.CandidatesMax {
		v.add("discovery.contacts_max", "%d is more than candidates_max, %d", d.ContactsMax, d.CandidatesMax)
	}
}

// MissingFiles tells which of the files that prove membership cannot be read here. It is no part of Validate: a file may be
// written on one machine for another.
func (c *Config) MissingFiles(file string) Problems {
	v := validation{file: file}
	for key, path := range map[string]string{
		"security.certificate_file": c.Security.CertificateFile, "security.key_file": c.Security.KeyFile, "security.authority_file": c.Security.AuthorityFile,
	} {
		if path == "" {
			continue
		}
		if f, err := os.Open(path); err != nil {
			v.add(key, "%v", err)
		} else {
			_ = f.Close() // it was only opened
		}
	}
	slices.SortFunc(v.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return v.problems
}

// CheckCluster says what is wrong with a cluster's name, if anything. An empty one is left to be filled in.
func CheckCluster(name string) error {
	var v validation
	v.text("the name", name, clusterMax)
	if len(v.problems) == 0 {
		return nil
	}
	return errors.New(v.problems[0].Key + " " + v.problems[0].What)
}

// clusterMax is the most bytes of a cluster's name.
const clusterMax = 255

// Label is the source's name, or its kind.
func (s Source) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Kind
}

// NodeName is the configured name, or the host's.
func (c *Config) NodeName() (string, error) {
	if c.Name != "" {
		return c.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name: ask for the host name: %w; set name", err)
	}
	return name, nil
}

// validation collects problems.
type validation struct {
	file     string
	problems Problems
}

func (v *validation) add(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{File: v.file, Key: key, What: fmt.Sprintf(format, args...)})
}

func (v *validation) text(key, s string, most int) {
	if len(s) > most {
		v.add(key, "has %d bytes, more than %d", len(s), most)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		v.add(key, "%q has blanks or control characters", s)
	}
}

func (v *validation) key(key string, s Secret) {
	if s == "" {
		return
	}
	if _, err := keys.Parse(s.Reveal()); err != nil {
		v.add(key, "%v", err)
	}
}

func (v *validation) address(key, s string, zeroPort bool) {
	if s == "" {
		return
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		v.add(key, "%q is no host:port", s)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || (n == 0 && !zeroPort) {
		v.add(key, "%q has no port from 1 to 65535", s)
	}
	if ip, err := netip.ParseAddr(host); !zeroPort && (host == "" || err == nil && ip.IsUnspecified()) {
		v.add(key, "%q names no host that others could dial", s)
	}
}

func (v *validation) socket(key, path string) {
	if len(path) > socketMax {
		v.add(key, "has %d bytes, and a unix socket's path at most %d: choose a shorter folder", len(path), socketMax)
	}
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
