package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery/targets"
)

// Config is whom to ask, and what proves to him who asks.
type Config struct {
	// URL (url, required) is http:// or https://, without user and password.
	URL string `yaml:"url"`
	// Format (format, auto) is auto, json, yaml or list; auto goes by the answer's
	// Content-Type.
	Format string `yaml:"format"`
	// Port (port, 7827) is that of addresses without one.
	Port int `yaml:"port"`
	// Refresh (refresh, 30s, 1s to 1h) is how often to ask.
	Refresh time.Duration `yaml:"refresh"`
	// Timeout (timeout, 5s, 100ms to 1m) is for one answer, to its last byte.
	Timeout time.Duration `yaml:"timeout"`
	// Complete (complete, true): the answer lists everybody, so that who is no
	// longer in it is withdrawn.
	Complete bool `yaml:"complete"`
	// TokenFile (token_file, empty = none) has a bearer token. It is read again
	// before every request, like the other files.
	TokenFile string `yaml:"token_file"`
	// Username and PasswordFile (empty = none) are for basic authentication.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
	// Headers (headers, none, at most 32) are sent as they are.
	Headers map[string]string `yaml:"headers"`
	// CAFile (ca_file, empty = the system's) has the authorities that may have
	// signed the server's certificate, in PEM.
	CAFile string `yaml:"ca_file"`
	// ServerName (server_name, empty = the URL's host) is the name that the
	// server's certificate must have.
	ServerName string `yaml:"server_name"`
	// CertificateFile and KeyFile (empty = none) prove to the server who asks.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
}

const headersMax = 32

// Default returns the defaults; URL has none.
func Default() Config {
	return Config{Format: targets.Auto, Port: 7827, Refresh: 30 * time.Second, Timeout: 5 * time.Second, Complete: true}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	errs := []error{c.checkURL(), targets.CheckFormat(c.Format), targets.CheckPort(c.Port)}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Refresh >= time.Second && c.Refresh <= time.Hour, "refresh: %v is not within 1s and 1h", c.Refresh)
	check(c.Timeout >= 100*time.Millisecond && c.Timeout <= time.Minute, "timeout: %v is not within 100ms and 1m", c.Timeout)
	check((c.Username == "") == (c.PasswordFile == ""), "username and password_file belong together")
	check(c.TokenFile == "" || c.Username == "", "token_file and username: choose one")
	check((c.CertificateFile == "") == (c.KeyFile == ""), "certificate_file and key_file belong together")
	check(len(c.Headers) <= headersMax, "headers: %d are more than %d", len(c.Headers), headersMax)
	for name, value := range c.Headers {
		check(validHeader(name, value), "headers: %q is no header, or its value has control characters", name)
		check(!slices.Contains(ours, http.CanonicalHeaderKey(name)), "headers: %s is set by starling; for credentials there are token_file and username", name)
	}
	return errors.Join(errs...)
}

// ours are the headers that are not for the configuration to set.
var ours = []string{"Authorization", "If-None-Match", "If-Modified-Since", "Accept-Encoding", "Content-Length", "Connection", "Transfer-Encoding"}

func (c Config) checkURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return errors.New("url: is empty, want http://… or https://…")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url: is none that begins with http:// or https:// and names a host") // it may hold a secret
	case u.User != nil:
		return errors.New("url: has a user or a password; use username and password_file")
	default:
		return nil
	}
}

// validHeader: a name is a token (RFC 9110, 5.6.2), a value has no control characters.
func validHeader(name, value string) bool {
	token := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
	return token && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// place is the URL without what may be secret in it.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }
