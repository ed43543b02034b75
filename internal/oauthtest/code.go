package oauthtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"
)

// beginVisit serves an authorization request: it signs the user in without a page
// and sends the browser back. extra goes into the response's query.
func (f *fake) beginVisit(w http.ResponseWriter, r *http.Request, extra url.Values) {
	q := r.Form
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Host == "" || q.Get("client_id") != ClientID {
		http.Error(w, "unknown client or redirect URI", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := redirect.Query()
	for name, values := range extra {
		answer[name] = values
	}
	answer.Set("state", q.Get("state"))
	if f.refuseAuthz != "" {
		answer.Set("error", f.refuseAuthz)
		answer.Set("error_description", "upstream text\r\nthat must not travel")
	} else {
		code := rand.Text()
		f.codes[code] = visit{
			user: f.user, redirectURI: q.Get("redirect_uri"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), scopes: q.Get("scope"),
		}
		answer.Set("code", code)
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

// redeem spends the code of a token request. The error code is "" if it is good.
// secret is what the client sent, in the header or in the body.
func (f *fake) redeem(form url.Values, id, secret string) (v visit, accessToken, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuseToken != "" {
		return visit{}, "", f.refuseToken
	}
	by, known := f.owner(secret)
	if id != ClientID || !known {
		return visit{}, "", "invalid_client"
	}
	if form.Get("grant_type") == "refresh_token" {
		v, ok := f.useRefreshToken(form.Get("refresh_token"), by)
		if !ok {
			return visit{}, "", "invalid_grant"
		}
		v.nonce = "" // OpenID Connect Core, section 12.2
		return v, f.newAccessToken(v), ""
	}
	v, ok := f.codes[form.Get("code")]
	delete(f.codes, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if !ok || v.redirectURI != form.Get("redirect_uri") || v.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return visit{}, "", "invalid_grant"
	}
	return v, f.newAccessToken(v), ""
}

func (f *fake) newAccessToken(v visit) string {
	token := padded("at-", f.sizes.Access)
	f.tokens[token], f.scopes[token] = v.user, v.scopes
	if f.life > 0 {
		f.ended[token] = time.Now().Add(f.life)
	}
	return token
}

// padded returns a new token of about size characters.
func padded(prefix string, size int) string {
	token := prefix + rand.Text()
	for len(token) < size {
		token += rand.Text()
	}
	return token
}

// newRefreshToken returns "" if the fake gives none. f.mu is not held.
func (f *fake) newRefreshToken(v visit) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.refreshing || v.refreshed {
		return ""
	}
	token := padded("rt-", f.sizes.Refresh)
	f.refresh[token] = v
	return token
}

func (f *fake) useRefreshToken(token, by string) (visit, bool) {
	if before, used := f.superseded[token]; used {
		f.reused = append(f.reused, Reuse{First: *before, By: by, At: time.Now()})
		f.remove(before.Subject)
		return visit{}, false
	}
	v, ok := f.refresh[token]
	if ok && f.keepRefresh {
		v.refreshed = true
		return v, true
	}
	if ok {
		delete(f.refresh, token)
		s := &Spending{Subject: v.user.Subject, By: by, Asked: time.Now()}
		f.superseded[token] = s
		f.spent = append(f.spent, s)
	}
	if do := f.afterSpend; ok && do != nil {
		f.mu.Unlock()
		defer f.mu.Lock()
		do()
	}
	return v, ok
}

// bearer returns whose access token the request carries.
func (f *fake) bearer(r *http.Request) (User, bool) {
	const scheme = "Bearer "
	header := r.Header.Get("Authorization")
	if len(header) < len(scheme) || header[:len(scheme)] != scheme {
		return User{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.tokens[header[len(scheme):]]
	return u, ok
}
