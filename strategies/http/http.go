// Package http asks a web server for addresses: Prometheus' http_sd, or a plain list. It asks with the last answer's ETag, so
// that no news costs no body. An answer that is not exactly a list changes nothing, and credentials go nowhere but to the
// scheme, host and port of the configured URL.
package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/targets"
)

const (
	bytesMax     = 4 << 20  // of an answer, unpacked
	secretMax    = 64 << 10 // of a file with a token, a password or certificates
	redirectsMax = 5
)

// HTTP is the strategy.
type HTTP struct {
	*discovery.Poll

	cfg   Config
	url   *url.URL
	names *discovery.Names

	// Of the last good answer; for the one goroutine that looks.
	known    bool
	entries  []discovery.Entry
	etag     string
	modified string
}

// Lookup resolves a host name to addresses of all families.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// New returns the strategy. lookup resolves host names in answers; nil is the system's resolver.
func New(cfg Config, lookup Lookup) (*HTTP, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		panic(err) // Validate has parsed it
	}
	h := &HTTP{cfg: cfg, url: u, names: discovery.NewNames(lookup)}
	h.Poll = discovery.NewPoll(cfg.Refresh, cfg.Refresh, cfg.Refresh, h.look)
	return h, nil
}

// Describe says how the strategy is set up; of headers only the names.
func (h *HTTP) Describe() discovery.Description {
	d := discovery.Description{Config: map[string]string{
		"url": place(h.url), "format": h.cfg.Format, "refresh": h.cfg.Refresh.String(), "timeout": h.cfg.Timeout.String(),
	}}
	for name := range h.cfg.Headers {
		d.Config["header "+name] = "[redacted]"
	}
	d.Rights = append(d.Rights, "GET "+place(h.url))
	for _, file := range []string{h.cfg.TokenFile, h.cfg.PasswordFile, h.cfg.CAFile, h.cfg.CertificateFile, h.cfg.KeyFile} {
		if file != "" {
			d.Rights = append(d.Rights, "read "+file)
		}
	}
	return d
}

func (h *HTTP) look(ctx context.Context) discovery.Round {
	asked, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	pause, err := h.ask(asked)
	if err != nil {
		return discovery.Round{Err: err, Pause: pause}
	}
	return h.names.Round(ctx, h.entries, h.cfg.Complete)
}

// ask brings entries up to date. On an error it may tell how long the server wants to be left alone.
func (h *HTTP) ask(ctx context.Context) (pause time.Duration, err error) {
	req, err := h.request(ctx)
	if err != nil {
		return 0, err
	}
	client, err := h.client()
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, h.failed(err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	switch {
	case res.StatusCode == http.StatusNotModified && h.known:
		return 0, nil
	case res.StatusCode != http.StatusOK:
		return retryAfter(res), h.refused(res)
	}
	return 0, h.take(res)
}

// take reads a good answer. Its ETag counts only if all of it made sense, or the next answer would be "as you know".
func (h *HTTP) take(res *http.Response) error {
	format := h.cfg.Format
	if format == targets.Auto {
		var err error
		if format, err = formatOf(res.Header.Get("Content-Type")); err != nil {
			return discovery.Classed(discovery.Misconfigured, "%s: %w", place(h.url), err)
		}
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, bytesMax+1))
	if err != nil {
		return h.failed(err)
	}
	if len(data) > bytesMax {
		return discovery.Classed(discovery.Misconfigured, "%s: the answer is longer than %d bytes", place(h.url), bytesMax)
	}
	entries, err := targets.Parse(place(h.url), format, h.cfg.Port, data)
	if err != nil {
		return discovery.Classed(discovery.Misconfigured, "%w", err)
	}
	h.known, h.entries = true, entries
	h.etag, h.modified = res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	return nil
}

func formatOf(contentType string) (string, error) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return "", fmt.Errorf("the answer has no good Content-Type (%q): set format", contentType)
	case media == "application/json", strings.HasSuffix(media, "+json"):
		return targets.JSON, nil
	case media == "application/yaml", media == "application/x-yaml", media == "text/yaml":
		return targets.YAML, nil
	case media == "text/plain":
		return targets.List, nil
	default:
		return "", fmt.Errorf("the answer is %s, want application/json, application/yaml or text/plain: is it the right place? Else set format", media)
	}
}

func (h *HTTP) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.cfg.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/yaml;q=0.9, text/plain;q=0.8")
	req.Header.Set("User-Agent", "starling")
	req.Header.Set("X-Prometheus-Refresh-Interval-Seconds", strconv.Itoa(int(h.cfg.Refresh.Seconds()))) // as http_sd asks
	for name, value := range h.cfg.Headers {
		req.Header.Set(name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
		}
	}
	if h.cfg.TokenFile != "" {
		token, err := secret(h.cfg.TokenFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if h.cfg.Username != "" {
		password, err := secret(h.cfg.PasswordFile)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(h.cfg.Username, password)
	}
	if h.known && h.etag != "" {
		req.Header.Set("If-None-Match", h.etag)
	} else if h.known && h.modified != "" {
		req.Header.Set("If-Modified-Since", h.modified)
	}
	return req, nil
}

// client is made anew for each request: that is how certificates may change, and no connection idles between requests.
func (h *HTTP) client() (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: h.cfg.ServerName}
	if h.cfg.CAFile != "" {
		pem, err := secret(h.cfg.CAFile)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, discovery.Classed(discovery.Misconfigured, "ca_file: %s holds no certificate in PEM", h.cfg.CAFile)
		}
	}
	if h.cfg.CertificateFile != "" {
		cert, err := tls.LoadX509KeyPair(h.cfg.CertificateFile, h.cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate_file, key_file: %w", err)
		}
		trust.Certificates = []tls.Certificate{cert}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, DisableKeepAlives: true,
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: h.mayFollow,
	}, nil
}

// mayFollow follows redirects within the configured scheme, host and port only: to another place they would carry tokens and
// headers that are none of its business, and from there addresses that nobody has vouched for.
func (h *HTTP) mayFollow(next *http.Request, before []*http.Request) error {
	if next.URL.Scheme != h.url.Scheme || next.URL.Host != h.url.Host {
		return discovery.Classed(discovery.Misconfigured, "redirected to %s, which is not followed: if that is right, set it as url", place(next.URL))
	}
	if len(before) >= redirectsMax {
		return discovery.Classed(discovery.Misconfigured, "redirected more than %d times", redirectsMax)
	}
	return nil
}

// failed is an error of the request without the URL's query, which may be secret.
func (h *HTTP) failed(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	return fmt.Errorf("ask %s: %w", place(h.url), err)
}

// refused says what an answer other than 200 means.
func (h *HTTP) refused(res *http.Response) error {
	class := discovery.Unavailable
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		class = discovery.Auth
	case http.StatusNotFound, http.StatusGone:
		class = discovery.NotFound
	case http.StatusTooManyRequests:
		class = discovery.Throttled
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		class = discovery.Timeout
	}
	return discovery.Classed(class, "ask %s: %d %s", place(h.url), res.StatusCode, http.StatusText(res.StatusCode))
}

// retryAfter is the wait that the server wants (RFC 9110, 10.2.3), in either of its forms; 0 if it does not say.
func retryAfter(res *http.Response) time.Duration {
	text := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// secret is a small file's text, without blanks around it.
func secret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, secretMax+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", path, err)
	case len(text) > secretMax:
		return "", discovery.Classed(discovery.Misconfigured, "%s is longer than %d bytes", path, secretMax)
	}
	return strings.TrimSpace(string(text)), nil
}
