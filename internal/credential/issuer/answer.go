package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// NeedsKeys reports whether something of the issuer is verified by its keys.
func (c *Config) NeedsKeys() bool { return !c.NoKeys || c.SignedAnswers }

// answerTypes are those of a signed answer about a token (RFC 9701, section 5), in
// lower case. No access token has one of them.
var answerTypes = []string{"token-introspection+jwt", "application/token-introspection+jwt"}

// answerAge bounds how old a signed answer may be: it was asked for a moment ago.
const answerAge = time.Minute

// Answer returns what an issuer says of a token in a signed answer: its member
// token_introspection. The answer must be for audience, this service's client id
// there. An error says what is wrong with it, and holds nothing of it.
func (k *Kind) Answer(ctx context.Context, issuer, raw, audience string, r *resource.Resource) ([]byte, error) {
	a := k.at[r][issuer]
	if a == nil || !a.config.NeedsKeys() {
		return nil, errors.New("no keys of the issuer are known for signed answers")
	}
	t, err := a.parse(raw, answerTypes, k.opt.Now())
	if err != nil {
		return nil, fmt.Errorf("the signed answer cannot be used: %w", err)
	}
	if err := t.checkAnswer(audience); err != nil {
		return nil, err
	}
	key, err := t.verify()
	if err == nil && key == nil && a.set.Await(ctx) {
		key, err = t.verify()
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the signed answer cannot be used: %w", err)
	case key == nil:
		return nil, errors.New("the signed answer has a key that the issuer does not publish")
	}
	return t.Claims["token_introspection"], nil
}

// checkAnswer checks the claims of a signed answer (RFC 9701, section 5).
func (t *token) checkAnswer(audience string) error {
	if iss, problem := t.Claims.Text("iss"); problem != "" || iss != t.config.Issuer {
		return errors.New("the signed answer is of another issuer")
	}
	for _, name := range []string{"sub", "exp"} { // it could be taken for an access token
		if t.Claims.Has(name) {
			return fmt.Errorf("the signed answer has %s, which is for tokens", name)
		}
	}
	if audiences, ok := t.Texts("aud"); !ok || !slices.Contains(audiences, audience) {
		return fmt.Errorf("the signed answer is not for this service: aud must be its client id")
	}
	issued, ok := t.Date("iat")
	switch {
	case !ok || issued.IsZero():
		return errors.New("the signed answer does not say when it was made (iat)")
	case issued.After(t.now.Add(t.config.Leeway)), issued.Before(t.now.Add(-answerAge - t.config.Leeway)):
		return errors.New("the signed answer was not made just now (iat); do the clocks differ?")
	}
	t.issued = issued
	if !t.Claims.Has("token_introspection") {
		return errors.New("the signed answer says nothing of the token (token_introspection)")
	}
	return nil
}
