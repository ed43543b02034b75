package oauthtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// GitHub is a fake GitHub: as GitHub Enterprise Server at URL, and as github.com
// and api.github.com through Client.
type GitHub struct {
	fake
	otherEmails int
	noEmails    int // status, instead of the list
	noGroups    int // the same, for organizations and teams
	rateLimited bool
}

// NewGitHub starts one.
func NewGitHub(t testing.TB) *GitHub {
	t.Helper()
	g := &GitHub{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", g.at(Authorization, func(w http.ResponseWriter, r *http.Request) {
		extra := url.Values{}
		if g.committed() == WrongResponseIssuer {
			extra.Set("iss", "https://attacker.example")
		}
		g.beginVisit(w, r, extra)
	}))
	mux.HandleFunc("POST /login/oauth/access_token", g.at(Token, g.token))
	for _, prefix := range []string{"", "/api/v3"} { // api.github.com, GitHub Enterprise Server
		mux.HandleFunc("GET "+prefix+"/user", g.at(UserInfo, g.api(g.serveUser)))
		mux.HandleFunc("GET "+prefix+"/user/emails", g.at(Emails, g.api(g.serveEmails)))
		mux.HandleFunc("GET "+prefix+"/user/orgs", g.at(Organizations, g.api(g.serveOrganizations)))
		mux.HandleFunc("GET "+prefix+"/user/teams", g.at(Teams, g.api(g.serveTeams)))
	}
	mux.HandleFunc("/elsewhere", g.at(Elsewhere, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	g.start(t, mux)
	return g
}

// Commit implements Provider. GitHub issues no ID token, so nearly nothing applies.
func (g *GitHub) Commit(fault Fault) bool {
	switch fault {
	case None, WrongResponseIssuer, NoSubject:
		g.set(func() { g.fault = fault })
		return true
	}
	return false
}

func (g *GitHub) committed() Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// OtherEmails puts n further addresses before the primary one.
func (g *GitHub) OtherEmails(n int) { g.set(func() { g.otherEmails = n }) }

// RefuseEmails makes the address list answer with status, as without the scope
// user:email; 0 ends that.
func (g *GitHub) RefuseEmails(status int) { g.set(func() { g.noEmails = status }) }

// RefuseGroups makes the lists of organizations and teams answer with status, as
// without the scope read:org; 0 ends that.
func (g *GitHub) RefuseGroups(status int) { g.set(func() { g.noGroups = status }) }

// RateLimit makes the API answer 403 with a used-up limit.
func (g *GitHub) RateLimit(on bool) { g.set(func() { g.rateLimited = on }) }

// token answers as GitHub does: errors with status 200.
func (g *GitHub) token(w http.ResponseWriter, r *http.Request) {
	v, accessToken, code := g.redeem(r.PostForm, r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"))
	answer := map[string]string{"access_token": accessToken, "token_type": "bearer", "scope": "read:user,user:email"}
	if refreshToken := ""; code == "" {
		if refreshToken = g.newRefreshToken(v); refreshToken != "" { // as of a GitHub App, whose tokens have no scope
			answer["refresh_token"], answer["refresh_token_expires_in"], answer["expires_in"], answer["scope"] = refreshToken, "15897600", strconv.Itoa(g.expiresIn(28800)), ""
		}
	} else {
		switch code { // GitHub's own names
		case "invalid_grant":
			code = "bad_verification_code"
			if r.PostForm.Get("grant_type") == "refresh_token" {
				code = "bad_refresh_token"
			}
		case "invalid_client":
			code = "incorrect_client_credentials"
		}
		answer = map[string]string{"error": code, "error_description": "upstream text\r\nthat must not travel", "error_uri": "https://docs.github.com/"}
	}
	if r.Header.Get("Accept") == "application/json" {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	form := url.Values{}
	for k, v := range answer {
		form.Set(k, v)
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	fmt.Fprint(w, form.Encode())
}

// api wraps what every API request needs.
func (g *GitHub) api(serve func(http.ResponseWriter, *http.Request, User)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		message := func(status int, text string) {
			writeJSON(w, status, map[string]string{"message": text, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
		}
		g.mu.Lock()
		limited := g.rateLimited
		g.mu.Unlock()
		user, ok := g.bearer(r)
		switch {
		case r.UserAgent() == "" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28":
			message(http.StatusBadRequest, "this fake wants a user agent and the API version")
		case limited:
			w.Header().Set("X-RateLimit-Remaining", "0")
			message(http.StatusForbidden, "API rate limit exceeded")
		case !ok:
			message(http.StatusUnauthorized, "Bad credentials")
		default:
			serve(w, r, user)
		}
	}
}

func (g *GitHub) serveUser(w http.ResponseWriter, _ *http.Request, u User) {
	id, err := strconv.ParseInt(u.Subject, 10, 64)
	if err != nil {
		panic("oauthtest: a GitHub subject is a number: " + u.Subject)
	}
	login := u.Login
	if login == "" {
		login = "user-" + u.Subject
	}
	answer := map[string]any{
		"login": login, "id": id, "node_id": "MDQ6VXNlcg==", "type": "User", "site_admin": false,
		"name": nil, "email": "public-profile@unverified.example", // the profile's address proves nothing
	}
	if u.Name != "" {
		answer["name"] = u.Name
	}
	if g.committed() == NoSubject {
		delete(answer, "id")
	}
	writeJSON(w, http.StatusOK, answer)
}

func (g *GitHub) serveEmails(w http.ResponseWriter, r *http.Request, u User) {
	g.mu.Lock()
	others, refuse := g.otherEmails, g.noEmails
	g.mu.Unlock()
	if refuse != 0 {
		writeJSON(w, refuse, map[string]string{"message": http.StatusText(refuse)})
		return
	}
	type address struct {
		Email      string  `json:"email"`
		Primary    bool    `json:"primary"`
		Verified   bool    `json:"verified"`
		Visibility *string `json:"visibility"`
	}
	list := []address{}
	for i := range others {
		list = append(list, address{Email: fmt.Sprintf("other-%d@secondary.example", i), Verified: true})
	}
	if u.Email != "" {
		list = append(list, address{Email: u.Email, Primary: true, Verified: u.EmailVerified, Visibility: new("private")})
	}
	servePage(w, r, list)
}

func (g *GitHub) serveOrganizations(w http.ResponseWriter, r *http.Request, u User) {
	list := []map[string]any{}
	for i, name := range u.Groups {
		if !strings.Contains(name, "/") {
			list = append(list, map[string]any{
				"login": name, "id": i + 1, "node_id": "MDEyOk9yZ2FuaXphdGlvbjE=", "url": "https://api.github.com/orgs/" + name, "description": nil,
			})
		}
	}
	g.serveGroups(w, r, list)
}

func (g *GitHub) serveTeams(w http.ResponseWriter, r *http.Request, u User) {
	list := []map[string]any{}
	for i, name := range u.Groups {
		if organization, slug, ok := strings.Cut(name, "/"); ok {
			list = append(list, map[string]any{
				"id": i + 1, "node_id": "MDQ6VGVhbTE=", "name": strings.ToUpper(slug), "slug": slug, "privacy": "closed", "permission": "pull",
				"organization": map[string]any{"login": organization, "id": i + 1, "type": "Organization"}, "parent": nil,
			})
		}
	}
	g.serveGroups(w, r, list)
}

func (g *GitHub) serveGroups(w http.ResponseWriter, r *http.Request, list []map[string]any) {
	g.mu.Lock()
	refuse := g.noGroups
	g.mu.Unlock()
	if refuse != 0 {
		writeJSON(w, refuse, map[string]string{"message": "You need at least read:org scope or user scope to list your organizations."})
		return
	}
	servePage(w, r, list)
}

func servePage[T any](w http.ResponseWriter, r *http.Request, list []T) {
	perPage, page := number(r, "per_page", 30, 100), number(r, "page", 1, 1<<20)
	start := min((page-1)*perPage, len(list))
	end := min(start+perPage, len(list))
	if end < len(list) {
		w.Header().Set("Link", fmt.Sprintf(`<https://api.github.com%s?per_page=%d&page=%d>; rel="next"`, r.URL.Path, perPage, page+1))
	}
	writeJSON(w, http.StatusOK, list[start:end])
}

func number(r *http.Request, name string, missing, most int) int {
	n, err := strconv.Atoi(r.Form.Get(name))
	if err != nil || n < 1 {
		return missing
	}
	return min(n, most)
}
