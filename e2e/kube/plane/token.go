package plane

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leeway is for how long the API server still takes a token that has expired (its JWT library's default).
const leeway = time.Minute

// Token asks the API server for a token of a service account. It serves for an hour.
func (p *Plane) Token(ctx context.Context, namespace, account string) (string, error) {
	hour := int64(3600)
	t, err := p.adminAPI.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return t.Status.Token, nil
}

// TokenFor is one that the API server takes for so long only. It signs it itself, with the servers' key: the server grants
// none for less than ten minutes.
func (p *Plane) TokenFor(ctx context.Context, namespace, account string, life time.Duration) (string, error) {
	sa, err := p.adminAPI.CoreV1().ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims := map[string]any{
		"iss": Issuer, "aud": []string{Issuer}, "sub": fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account),
		"iat": now.Add(-time.Hour).Unix(), "nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(life - leeway).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": sa.UID},
		},
	}
	return signJWT(p.TokenKey, claims)
}

// signJWT writes a JSON Web Token (RFC 7519) signed by RS256 (RFC 7518, 3.3).
func signJWT(key *rsa.PrivateKey, claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
