package http

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
)

// A web is a server of lists whose every answer the test decides.
type web struct {
	*httptest.Server

	mu     sync.Mutex // guards the rest
	answer http.HandlerFunc
	asked  []*http.Request
}

func newWeb(t *testing.T, start func(*httptest.Server)) *web {
	t.Helper()
	w := &web{answer: targetsOf("10.0.0.1:7000")}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, req)
		answer := w.answer
		w.mu.Unlock()
		answer(res, req)
	}))
	start(w.Server)
	t.Cleanup(w.Close)
	return w
}

func (w *web) answers(a http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = a
}

func (w *web) last() *http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[len(w.asked)-1]
}

func plain(s *httptest.Server) { s.Start() }

func sd(addrs ...string) string {
	if len(addrs) == 0 {
		return "[]"
	}
	return fmt.Sprintf(`[{"targets": [%s], "labels": {"zone": "a"}}]`, `"`+strings.Join(addrs, `","`)+`"`)
}

func targetsOf(addrs ...string) http.HandlerFunc { return says("application/json", sd(addrs...)) }

func says(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body)) // who asked may have gone
	}
}

func refuses(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

func newHTTP(t *testing.T, url string, edit func(*Config)) *HTTP {
	t.Helper()
	cfg := Default()
	cfg.URL, cfg.Refresh = url, time.Second
	if edit != nil {
		edit(&cfg)
	}
	h, err := New(cfg, func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestContract(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		w := newWeb(t, plain)
		h := newHTTP(t, w.URL+"/peers", func(c *Config) { c.Timeout = 200 * time.Millisecond })
		var now http.HandlerFunc
		set := func(addrs ...string) { now = targetsOf(addrs...); w.answers(now) }
		broken := []http.HandlerFunc{
			refuses(http.StatusForbidden), refuses(http.StatusNotFound), refuses(http.StatusBadGateway),
			says("text/html", "<html>Sign in"), says("application/json", `[{"targets":["10.1.2.1:7000"`),
			says("application/json", "null"), says("application/json", `{"error":"later"}`),
			func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() },
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/login", http.StatusFound) },
			targetsOf("unknown.example:1"),
		}
		return discoverytest.Harness{
			Strategy: h, Refresh: h.Refresh, Set: set, BreakWays: len(broken),
			Break: func(way int) { w.answers(broken[way]) },
			Mend:  func() { w.answers(now) },
		}
	})
}

func look(t *testing.T, h *HTTP) (string, error) {
	t.Helper()
	r := h.look(t.Context())
	if r.Seen == nil {
		return "", r.Err
	}
	var addrs []string
	for _, c := range r.Seen.(discovery.Complete).Candidates {
		addrs = append(addrs, c.Addrs...)
	}
	return strings.Join(addrs, " "), r.Err
}

func TestNoNewsCostsNoBody(t *testing.T) {
	w := newWeb(t, plain)
	for _, header := range [][2]string{{"ETag", "If-None-Match"}, {"Last-Modified", "If-Modified-Since"}} {
		version := "Sat, 21 Nov 2026 10:00:00 GMT"
		bodies := 0
		w.answers(func(res http.ResponseWriter, req *http.Request) {
			if req.Header.Get(header[1]) == version {
				res.WriteHeader(http.StatusNotModified)
				return
			}
			bodies++
			res.Header().Set(header[0], version)
			targetsOf("10.0.0.1:7000")(res, req)
		})
		h := newHTTP(t, w.URL, nil)
		for range 3 {
			if got, err := look(t, h); got != "10.0.0.1:7000" || err != nil {
				t.Errorf("have %q, %v", got, err)
			}
		}
		if bodies != 1 {
			t.Errorf("%s: %d bodies for three looks without news, want 1", header[0], bodies)
		}
	}
}

// An answer that made no sense must not become "as you know".
func TestTheTagOfANonsensicalAnswerDoesNotCount(t *testing.T) {
	w := newWeb(t, plain)
	h := newHTTP(t, w.URL, nil)
	w.answers(func(res http.ResponseWriter, req *http.Request) {
		res.Header().Set("ETag", `"bad"`)
		says("application/json", "[{")(res, req)
	})
	for range 2 {
		if _, err := look(t, h); err == nil || w.last().Header.Get("If-None-Match") != "" {
			t.Errorf("got %v, asked with %q", err, w.last().Header.Get("If-None-Match"))
		}
	}
	w.answers(refuses(http.StatusNotModified)) // to who asked for no tag
	if got, err := look(t, h); err == nil {
		t.Errorf("304 to the first question gave %q", got)
	}
}

func TestErrorsHaveTheirClassAndTellNoSecret(t *testing.T) {
	w := newWeb(t, plain)
	for want, answer := range map[discovery.Class]http.HandlerFunc{
		discovery.Auth:          refuses(http.StatusUnauthorized),
		discovery.NotFound:      refuses(http.StatusGone),
		discovery.Throttled:     refuses(http.StatusTooManyRequests),
		discovery.Unavailable:   refuses(http.StatusInternalServerError),
		discovery.Misconfigured: says("text/html", "<html>"),
		discovery.Timeout:       func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() },
	} {
		w.answers(answer)
		h := newHTTP(t, w.URL+"/p?key=sesame", func(c *Config) {
			c.Timeout, c.Headers = 200*time.Millisecond, map[string]string{"X-Key": "sesame"}
		})
		_, err := look(t, h)
		if discovery.ClassOf(err) != want || strings.Contains(err.Error(), "sesame") || !strings.Contains(err.Error(), w.URL+"/p") {
			t.Errorf("%v (%v), want %v, the place, and nothing secret", err, discovery.ClassOf(err), want)
		}
		if d := fmt.Sprint(h.Describe()); strings.Contains(d, "sesame") {
			t.Errorf("described as %s", d)
		}
	}
}

func TestAServerThatWantsToBeLeftAloneIs(t *testing.T) {
	w := newWeb(t, plain)
	h := newHTTP(t, w.URL, nil)
	for value, want := range map[string]time.Duration{"120": 2 * time.Minute, "": 0, "soon": 0, "-1": 0, "Sat, 21 Nov 1998 10:00:00 GMT": 0} {
		w.answers(func(res http.ResponseWriter, _ *http.Request) {
			res.Header().Set("Retry-After", value)
			res.WriteHeader(http.StatusServiceUnavailable)
		})
		if got := h.look(t.Context()).Pause; got != want {
			t.Errorf("Retry-After: %s gives a pause of %v, want %v", value, got, want)
		}
	}
}

func TestCredentialsAreReadAnewAndGoNowhereElse(t *testing.T) {
	elsewhere := newWeb(t, plain)
	w := newWeb(t, plain)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "first\n")
	h := newHTTP(t, w.URL, func(c *Config) { c.TokenFile, c.Headers = file, map[string]string{"X-Scope": "shop"} })
	for _, token := range []string{"first", "second"} {
		write(t, file, token+"\n")
		if _, err := look(t, h); err != nil {
			t.Fatal(err)
		}
		if got := w.last().Header; got.Get("Authorization") != "Bearer "+token || got.Get("X-Scope") != "shop" {
			t.Errorf("sent %v", got)
		}
	}
	w.answers(func(res http.ResponseWriter, req *http.Request) {
		http.Redirect(res, req, elsewhere.URL, http.StatusFound)
	})
	if got, err := look(t, h); err == nil || !strings.Contains(err.Error(), elsewhere.URL) || discovery.ClassOf(err) != discovery.Misconfigured {
		t.Errorf("redirected to another place: %q, %v", got, err)
	}
	if len(elsewhere.asked) != 0 {
		t.Errorf("the other place was asked, with %v", elsewhere.last().Header)
	}
	w.answers(func(res http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/" {
			http.Redirect(res, req, "/v2", http.StatusMovedPermanently)
			return
		}
		targetsOf("10.0.0.2:7000")(res, req)
	})
	if got, err := look(t, h); got != "10.0.0.2:7000" || err != nil || w.last().Header.Get("Authorization") == "" {
		t.Errorf("redirected within the place: %q, %v", got, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	asked := len(w.asked)
	if _, err := look(t, h); discovery.ClassOf(err) != discovery.NotFound || len(w.asked) != asked {
		t.Errorf("without its token: %v, asked %d times", err, len(w.asked)-asked)
	}
}

func TestBasicAuthentication(t *testing.T) {
	w := newWeb(t, plain)
	file := filepath.Join(t.TempDir(), "password")
	write(t, file, "sesame\n")
	if _, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.Username, c.PasswordFile = "ali", file })); err != nil {
		t.Fatal(err)
	}
	if user, password, _ := w.last().BasicAuth(); user != "ali" || password != "sesame" {
		t.Errorf("sent %s, %s", user, password)
	}
}

func TestTheServerMustProveItself(t *testing.T) {
	w := newWeb(t, func(s *httptest.Server) { s.StartTLS() })
	w.Config.ErrorLog = nil
	if got, err := look(t, newHTTP(t, w.URL, nil)); err == nil {
		t.Errorf("a certificate that nobody signed was taken: %q", got)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})))
	if got, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.CAFile = ca })); got != "10.0.0.1:7000" || err != nil {
		t.Errorf("with its authority: %q, %v", got, err)
	}
	if got, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.CAFile, c.ServerName = ca, "other.example" })); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("under another name: %q, %v", got, err)
	}
	write(t, ca, "nothing")
	if _, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.CAFile = ca })); discovery.ClassOf(err) != discovery.Misconfigured {
		t.Errorf("with an authority that is none: %v", err)
	}
}

func TestWeProveOurselvesByCertificate(t *testing.T) {
	w := newWeb(t, func(s *httptest.Server) { s.StartTLS() })
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "crt.pem"), filepath.Join(dir, "key.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})))
	mint(t, cert, key)
	w.TLS.ClientAuth = 1 // tls.RequestClientCert
	if _, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.CAFile, c.CertificateFile, c.KeyFile = ca, cert, key })); err != nil {
		t.Fatal(err)
	}
	if shown := w.last().TLS.PeerCertificates; len(shown) != 1 {
		t.Errorf("showed %d certificates", len(shown))
	}
}

func TestTheFormatIsThatOfTheAnswer(t *testing.T) {
	w := newWeb(t, plain)
	for _, tt := range []struct{ contentType, body, format, want string }{
		{"application/json; charset=utf-8", sd("10.0.0.1"), "auto", "10.0.0.1:7827"},
		{"application/vnd.shop+json", sd("10.0.0.1:1"), "auto", "10.0.0.1:1"},
		{"application/yaml", "- targets: [10.0.0.1:1]", "auto", "10.0.0.1:1"},
		{"text/plain", "10.0.0.1\n10.0.0.2", "auto", "10.0.0.1:7827 10.0.0.2:7827"},
		{"text/html", sd("10.0.0.1:1"), "json", "10.0.0.1:1"},
		{"", "", "auto", ""},
		{"text/html", "10.0.0.1", "auto", ""},
	} {
		w.answers(says(tt.contentType, tt.body))
		got, err := look(t, newHTTP(t, w.URL, func(c *Config) { c.Format = tt.format }))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s %q: %q, %v; want %q", tt.contentType, tt.body, got, err, tt.want)
		}
	}
}

func TestAnAnswerIsBoundedAndTheOldOneStays(t *testing.T) {
	w := newWeb(t, plain)
	h := newHTTP(t, w.URL, nil)
	if _, err := look(t, h); err != nil {
		t.Fatal(err)
	}
	w.answers(says("text/plain", strings.Repeat("#", bytesMax+1)))
	if _, err := look(t, h); err == nil || !strings.Contains(err.Error(), "longer than 4194304 bytes") {
		t.Errorf("got %v", err)
	}
	if len(h.entries) != 1 {
		t.Errorf("%d entries are left, want the old one", len(h.entries))
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"url: is empty":                 func(c *Config) { c.URL = "" },
		"url: is none that begins":      func(c *Config) { c.URL = "ftp://x/" },
		"url: has a user":               func(c *Config) { c.URL = "http://ali:sesame@x/" },
		`format: "xml" is none`:         func(c *Config) { c.Format = "xml" },
		"port: 70000 is not":            func(c *Config) { c.Port = 70000 },
		"refresh: 0s is not":            func(c *Config) { c.Refresh = 0 },
		"timeout: 1h0m0s is not":        func(c *Config) { c.Timeout = time.Hour },
		"username and password_file":    func(c *Config) { c.Username = "ali" },
		"token_file and username":       func(c *Config) { c.Username, c.PasswordFile, c.TokenFile = "a", "b", "c" },
		"certificate_file and key_file": func(c *Config) { c.KeyFile = "k" },
		`headers: "a b" is no header`:   func(c *Config) { c.Headers = map[string]string{"a b": "c"} },
		`headers: "a" is no header`:     func(c *Config) { c.Headers = map[string]string{"a": "b\r\nc: d"} },
		"headers: authorization is set": func(c *Config) { c.Headers = map[string]string{"authorization": "b"} },
		"headers: 33 are more than 32":  func(c *Config) { c.Headers = many(33) },
	} {
		cfg := Default()
		cfg.URL = "https://x/peers"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("x-%d", i)] = "v"
	}
	return m
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mint writes a certificate that signed itself.
func mint(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	like := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}
