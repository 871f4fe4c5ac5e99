package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/http"
)

// HTTPSource asks a web server for addresses: Prometheus' http_sd, or a plain list. An answer that is not exactly a list
// changes nothing.
type HTTPSource struct {
	// Where to ask. Redirects within this scheme, host and port are followed, others are errors.
	URL string `yaml:"url" eg:"https://registry.example/v1/cart"`
	// auto goes by the answer's Content-Type: application/json, application/yaml, or text/plain for a list of addresses.
	Format string `yaml:"format" oneof:"auto,json,yaml,list"`
	// Of addresses that the answer gives no port.
	Port int `yaml:"port" range:"1..65535"`
	// How often to ask. The last ETag is sent along, so that no news costs no body.
	Refresh time.Duration `yaml:"refresh" range:"1s..1h"`
	// Wait for one answer, to its last byte.
	Timeout time.Duration `yaml:"timeout" range:"100ms..1m"`
	// Whether the answer lists everybody, so that who is no longer in it is withdrawn.
	Complete bool `yaml:"complete"`
	// File with a bearer token. Like all files here it is read again before each request.
	TokenFile string `yaml:"token_file" eg:"/run/secrets/registry-token"`
	// For basic authentication.
	Username string `yaml:"username" eg:"starling"`
	// File with the password of username.
	PasswordFile string `yaml:"password_file" eg:"/run/secrets/registry-password"`
	// Headers to send. They are not shown anywhere; take secret ones from the environment.
	Headers map[string]string `yaml:"headers" json:"-" eg:"{X-Api-Key: '${REGISTRY_KEY}'}"`
	// PEM file with the authorities that may have signed the server's certificate. Empty means the system's.
	CAFile string `yaml:"ca_file" eg:"/etc/ssl/registry-ca.pem"`
	// The name that the server's certificate must have. Empty means the host of url.
	ServerName string `yaml:"server_name" eg:"registry.example"`
	// Our own certificate, if the server wants one.
	CertificateFile string `yaml:"certificate_file" eg:"/etc/starling/registry.crt"`
	// Its private key.
	KeyFile string `yaml:"key_file" eg:"/etc/starling/registry.key"`
}

// Validate is the strategy's own word.
func (o *HTTPSource) Validate() error { return http.Config(*o).Validate() }

func defaultHTTP() Options {
	o := HTTPSource(http.Default())
	o.Port = defaultPort
	return &o
}
