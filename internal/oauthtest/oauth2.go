package oauthtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

// OAuth2 is a fake provider that speaks OAuth 2.0 only, with an API of its own
// that says who the user is.
type OAuth2 struct {
	fake
	userInfo func(map[string]any)
}

// NewOAuth2 starts one; reach it through Client.
func NewOAuth2(t testing.TB) *OAuth2 {
	t.Helper()
	p := &OAuth2{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.at(Authorization, func(w http.ResponseWriter, r *http.Request) {
		extra := url.Values{}
		if p.committed() == WrongResponseIssuer {
			extra.Set("iss", "https://attacker.example")
		}
		p.beginVisit(w, r, extra)
	}))
	mux.HandleFunc("POST /token", p.at(Token, p.token))
	mux.HandleFunc("GET /me", p.at(UserInfo, p.serveUser))
	mux.HandleFunc("/elsewhere", p.at(Elsewhere, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	p.start(t, mux)
	return p
}

// Commit implements Provider.
func (p *OAuth2) Commit(fault Fault) bool {
	switch fault {
	case None, WrongResponseIssuer, NoSubject:
		p.set(func() { p.fault = fault })
		return true
	}
	return false
}

func (p *OAuth2) committed() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// EditUserInfo changes the answer about the person.
func (p *OAuth2) EditUserInfo(edit func(map[string]any)) { p.set(func() { p.userInfo = edit }) }

func (p *OAuth2) token(w http.ResponseWriter, r *http.Request) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if basicID, basicSecret, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(basicID)
		secret, _ = url.QueryUnescape(basicSecret)
	}
	v, accessToken, code := p.redeem(r.PostForm, id, secret)
	if code != "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": "upstream text\r\nthat must not travel"})
		return
	}
	answer := map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": p.expiresIn(3600)}
	if refreshToken := p.newRefreshToken(v); refreshToken != "" {
		answer["refresh_token"] = refreshToken
	}
	writeJSON(w, http.StatusOK, answer)
}

func (p *OAuth2) serveUser(w http.ResponseWriter, r *http.Request) {
	user, ok := p.bearer(r)
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	data := map[string]any{
		"id": json.Number(user.Subject), "full_name": user.Name, "email": user.Email, "confirmed": user.EmailVerified, "teams": user.Groups,
	}
	if p.fault == NoSubject {
		delete(data, "id")
	}
	answer := map[string]any{"data": data, "ok": true}
	edit(p.userInfo, answer)
	writeJSON(w, http.StatusOK, answer)
}
