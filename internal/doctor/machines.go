package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Grants by which clients get tokens without a person.
const (
	assertionGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	ownGrant       = "client_credentials"
	idJAGProfile   = "urn:ietf:params:oauth:grant-profile:id-jag"
)

// checkMachines tries each such grant that is advertised, without valid credentials:
// the refusal shows whether the grant works.
func (w *walk) checkMachines(ctx context.Context) outcome {
	offered := w.server.Grants
	if slices.Contains(w.server.Profiles, idJAGProfile) && !slices.Contains(offered, assertionGrant) {
		return fail("machines.profile", w.serverAt+" has "+idJAGProfile+", and no "+assertionGrant)
	}
	if !w.usableAt(w.server.TokenEndpoint) {
		return skip(noEndpoint)
	}
	var found []string
	for _, grant := range []string{ownGrant, assertionGrant} {
		if !slices.Contains(offered, grant) {
			continue
		}
		form := url.Values{"grant_type": {grant}, "client_id": {"mcp-forward-auth-doctor"}}
		if grant == assertionGrant {
			form = url.Values{"grant_type": {grant}, "assertion": {"e30.e30.ZG9jdG9y"}} // {}, {} and no signature
		}
		a, err := w.postForm(ctx, w.server.TokenEndpoint, form)
		if err != nil {
			return skip(transport(err))
		}
		switch {
		case a.status < 300:
			return fail("machines.open", grant+": "+fmt.Sprint(a.status)) // its body may hold a token
		case a.oauthError() == "unsupported_grant_type":
			return fail("machines.unsupported", grant+": "+a.String())
		}
		found = append(found, grant)
	}
	if len(found) == 0 {
		return pass("no client can get a token without a person")
	}
	return pass(strings.Join(found, ", "))
}

// checkAssertion presents the given assertion at the token endpoint.
func (w *walk) checkAssertion(ctx context.Context) outcome {
	a, isJWT := claimsOf(w.opt.Assertion)
	if !isJWT {
		return fail("assertion.malformed", fmt.Sprintf("%d characters, which are no signed JWT", len(w.opt.Assertion)))
	}
	for _, audience := range a.audiences() {
		if audience != w.server.Issuer && audience != w.server.TokenEndpoint {
			return fail("assertion.audience", fmt.Sprintf("aud is %s, the issuer %q", a.shownAudience(), w.server.Issuer))
		}
	}
	if len(a.audiences()) == 0 {
		return fail("assertion.audience", fmt.Sprintf("aud is %s, the issuer %q", a.shownAudience(), w.server.Issuer))
	}
	if left := time.Until(time.Unix(int64(a.Expires), 0)); left <= 0 {
		return fail("assertion.expired", fmt.Sprintf("it expired %s ago", (-left).Round(time.Second)))
	}
	if err := w.prove(); err != nil {
		return skip(err.Error())
	}
	form := url.Values{"grant_type": {assertionGrant}, "assertion": {w.opt.Assertion}, "resource": {w.resource.Resource}}
	if w.opt.ClientID != "" {
		form.Set("client_id", w.opt.ClientID)
	}
	got, err := w.postProven(ctx, w.server.TokenEndpoint, func(header ...string) (*answer, error) {
		return w.postForm(ctx, w.server.TokenEndpoint, form, header...)
	})
	switch {
	case err != nil:
		return skip(transport(err))
	case got.status >= 400:
		return fail("assertion.refused", got.String()+fmt.Sprintf("; iss is %q, sub %q", a.Issuer, a.Subject))
	}
	w.granted = got
	return pass(fmt.Sprintf("of %q, about %q", a.Issuer, a.Subject))
}

// prove makes the doctor's key, if tokens must be bound to one.
func (w *walk) prove() (err error) {
	if w.boundOnly && w.prover == nil {
		w.prover, err = newProver()
	}
	return err
}

// keepToken reads a token answer; nothing of it is shown.
func (w *walk) keepToken(a *answer) outcome {
	scheme := "Bearer"
	if w.prover != nil {
		scheme = "DPoP"
	}
	var t tokens
	switch {
	case a.status != 200 || !a.isJSON() || json.Unmarshal(a.body, &t) != nil || t.Access == "":
		return fail("exchange.malformed", fmt.Sprintf("%d, %s, token_type %q", a.status, a.media(), t.Type))
	case w.prover != nil && strings.EqualFold(t.Type, "Bearer"):
		return fail("exchange.unbound", "token_type is "+t.Type)
	case !strings.EqualFold(t.Type, scheme):
		return fail("exchange.malformed", fmt.Sprintf("%d, %s, token_type %q", a.status, a.media(), t.Type))
	}
	w.token = &t
	return pass(fmt.Sprintf("%d bytes, good for %s, scope %q", len(t.Access), time.Duration(t.Expires)*time.Second, t.Scope))
}
