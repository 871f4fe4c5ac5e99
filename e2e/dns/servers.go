package dns

import (
	"fmt"
	"strings"
	"testing"
)

// newCoreDNS starts a CoreDNS with some plugins for the zone, a line each. The words file, template and erratic are theirs.
func newCoreDNS(t testing.TB, addr string, plugins ...string) *server {
	t.Helper()
	s := newServer(t, addr)
	s.serve(plugins...)
	return s
}

// serve starts CoreDNS with other plugins, at the same address. A scheme may stand before: "tls://".
func (s *server) serve(plugins ...string) {
	s.t.Helper()
	s.kill()
	host, port := split(s.addr)
	scheme := ""
	if strings.HasPrefix(plugins[0], "tls ") {
		scheme = "tls://"
	}
	conf := fmt.Sprintf("%s%s:%s {\n bind %s\n errors\n %s\n}\n", scheme, strings.TrimSuffix(origin, "."), port, host, strings.Join(plugins, "\n "))
	s.words = append(s.words[:0], coredns, "-conf", s.write("Corefile", conf))
	s.start()
}

// file is the plugin that serves a zone file.
func (s *server) file(text string) string { return "file " + s.write("zone", text) }

// always is the plugin that says one thing to every question. With a SOA it says how long that is good.
func always(rcode string) string {
	return fmt.Sprintf("template ANY ANY {\n  rcode %s\n  authority \"%s 1 IN SOA ns.%[2]s root.%[2]s 1 3600 600 86400 1\"\n }", rcode, origin)
}

// newBIND starts a named whose zone nsupdate may change. Options are lines of its configuration.
func newBIND(t testing.TB, addr, zoneText string, options ...string) *server {
	t.Helper()
	s := newServer(t, addr)
	host, port := split(addr)
	s.write("zone", zoneText)
	conf := s.write("named.conf", fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no;
	listen-on port %s { %s; }; listen-on-v6 { none; };
	%s
};
controls { };
zone %q { type primary; file "zone"; allow-update { %s; }; };
`, s.dir, port, host, strings.Join(options, "\n\t"), strings.TrimSuffix(origin, "."), updater))
	s.words = []string{"named", "-g", "-4", "-n", "1", "-c", conf}
	s.start()
	return s
}

// update changes the zone of a BIND; each line is as in nsupdate(1), all are one transaction.
func (s *server) update(lines ...string) {
	s.t.Helper()
	host, port := split(s.addr)
	script := fmt.Sprintf("local %s\nserver %s %s\nzone %s\n%s\nsend\n", updater, host, port, origin, strings.Join(lines, "\n"))
	if err := run(s.t.Context(), script, "nsupdate"); err != nil {
		s.t.Fatal(err)
	}
}

// newPowerDNS starts a pdns_server whose zone may have records that are computed in Lua.
func newPowerDNS(t testing.TB, addr, zoneText string) *server {
	t.Helper()
	s := newServer(t, addr)
	host, port := split(addr)
	conf := s.write("zones.conf", fmt.Sprintf("zone %q { type master; file %q; };\n", strings.TrimSuffix(origin, "."), s.write("zone", zoneText)))
	s.words = []string{
		"pdns_server", "--config-dir=" + s.dir, "--socket-dir=" + s.dir, "--daemon=no", "--guardian=no", "--disable-syslog",
		"--launch=bind", "--bind-config=" + conf, "--local-address=" + host, "--local-port=" + port,
		"--enable-lua-records=yes", "--cache-ttl=0", "--query-cache-ttl=0", "--negquery-cache-ttl=0",
	}
	s.start()
	return s
}

// sample is a record that is so many of n addresses, others each time.
func sample(name string, size, n int) string {
	return fmt.Sprintf(`%s IN LUA A ";local a,r={},{} for i=1,%d do a[i]='10.9.0.'..i end while #r<%d do local p=pickrandom(a) `+
		`for i,x in ipairs(a) do if x==p then table.insert(r,p) table.remove(a,i) break end end end return r"`, name, n, size)
}
