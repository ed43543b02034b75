package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
)

// prover holds the doctor's key and makes a proof for each request, if the MCP server
// issues tokens that are bound to a key (RFC 9449). It is safe for concurrent use.
type prover struct {
	signer jose.Signer

	mu     sync.Mutex
	nonces map[string]string // by origin
}

// proofAlgorithm is the one that every client and server with DPoP knows.
const proofAlgorithm = jose.ES256

func newProver() (*prover, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: proofAlgorithm, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	return &prover{signer: signer, nonces: map[string]string{}}, err
}

// proof makes a proof for a request, and for its token, if any (section 4.2).
func (p *prover) proof(method, at, token string) (string, error) {
	at, _, _ = strings.Cut(at, "?")
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": at, "iat": time.Now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	p.mu.Lock()
	if nonce := p.nonces[originOf(at)]; nonce != "" {
		claims["nonce"] = nonce
	}
	p.mu.Unlock()
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := p.signer.Sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// learn keeps the nonce of an answer, and reports whether to send the request again
// with it (sections 8 and 9).
func (p *prover) learn(at string, a *answer) (again bool) {
	nonce := a.header.Get(dpop.NonceHeader)
	if nonce == "" {
		return false
	}
	p.mu.Lock()
	p.nonces[originOf(at)] = nonce
	p.mu.Unlock()
	return a.status == http.StatusBadRequest && a.oauthError() == useNonce ||
		a.status == http.StatusUnauthorized && slices.ContainsFunc(a.header.Values("WWW-Authenticate"), func(line string) bool { return strings.Contains(line, useNonce) })
}

const useNonce = "use_dpop_nonce"

// originOf is the part of an absolute URL before its path.
func originOf(at string) string {
	scheme, rest, _ := strings.Cut(at, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// credentials are the headers with the token, for one request.
func (w *walk) credentials(method, at string) ([]string, error) {
	if w.prover == nil {
		return []string{"Authorization", "Bearer " + w.token.Access}, nil
	}
	proof, err := w.prover.proof(method, at, w.token.Access)
	return []string{"Authorization", dpop.Scheme + " " + w.token.Access, dpop.Header, proof}, err
}

// authorized sends a request with the token, and sends it once more if a nonce is
// required.
func (w *walk) authorized(ctx context.Context, timeout time.Duration, r request) (*answer, error) {
	return w.proven(func() (*answer, error) {
		credentials, err := w.credentials(r.method, r.url)
		if err != nil {
			return nil, err
		}
		again := r
		again.header = append(slices.Clone(r.header), credentials...)
		return w.probe.within(ctx, timeout, again)
	}, r.url)
}

// proven sends the request once more if the answer brings a missing nonce.
func (w *walk) proven(ask func() (*answer, error), at string) (*answer, error) {
	a, err := ask()
	if err == nil && w.prover != nil && w.prover.learn(at, a) {
		return ask()
	}
	return a, err
}

// postProven posts a form to the token endpoint, with a proof if tokens must be bound.
func (w *walk) postProven(ctx context.Context, at string, post func(header ...string) (*answer, error)) (*answer, error) {
	return w.proven(func() (*answer, error) {
		if w.prover == nil {
			return post()
		}
		proof, err := w.prover.proof(http.MethodPost, at, "")
		if err != nil {
			return nil, err
		}
		return post(dpop.Header, proof)
	}, at)
}

// checkProofs checks whether a client can get a token, if the MCP server accepts only
// bound ones.
func (w *walk) checkProofs(context.Context) outcome {
	if !w.boundOnly {
		return pass("none is needed")
	}
	algorithms := w.server.ProofAlgorithms
	switch {
	case len(algorithms) == 0:
		return fail("proofs.unsupported", w.serverAt+" has no dpop_signing_alg_values_supported")
	case !slices.Contains(algorithms, string(proofAlgorithm)):
		return warn("proofs.algorithms", "dpop_signing_alg_values_supported is "+strings.Join(algorithms, ", "))
	}
	return pass(strings.Join(algorithms, ", "))
}
