//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

// person is one sign-in: a client that registers, a browser, and what both keep.
type person struct {
	ctx     context.Context
	address string
	name    string
	cookies map[string]string
}

const callback = "http://127.0.0.1:33418/callback"

// direct follows no redirects.
var direct = &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (c *counts) signInAgainAndAgain(ctx context.Context, address string, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := &person{ctx: ctx, address: address, name: name(n), cookies: map[string]string{}}
		switch err := p.signIn(); {
		case err == nil:
			c.signIns.Add(1)
		case ctx.Err() == nil:
			c.failed(err)
		}
	}
}

// signIn is a whole life: register, authorize, consent, log in, redeem,
// refresh, and every so often revoke.
func (p *person) signIn() error {
	var client struct {
		ID string `json:"client_id"`
	}
	if err := p.json("/register", "application/json", `{"client_name":"Soak `+rand.Text()[:6]+`","redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`, http.StatusCreated, &client); err != nil {
		return err
	}
	verifier := oauth2.GenerateVerifier()
	code, err := p.browse("/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client.ID}, "redirect_uri": {callback}, "state": {"s"}, "resource": {issuer + "/mcp"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode())
	if err != nil {
		return err
	}
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	form := func(v url.Values, path string, into any) error {
		return p.json(path, "application/x-www-form-urlencoded", v.Encode(), http.StatusOK, into)
	}
	if err := form(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {client.ID},
	}, "/token", &tokens); err != nil {
		return err
	}
	if err := form(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}, "client_id": {client.ID}}, "/token", &tokens); err != nil {
		return err
	}
	if strings.HasPrefix(code, "A") || len(code)%4 == 0 {
		return form(url.Values{"token": {tokens.Refresh}, "client_id": {client.ID}}, "/revoke", &struct{}{})
	}
	return nil
}

func (p *person) do(method, path, kind, body string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(p.ctx, method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Host = host
	if body != "" {
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Origin", issuer)
	}
	for name, value := range p.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := direct.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if delete(p.cookies, c.Name); c.MaxAge >= 0 {
			p.cookies[c.Name] = c.Value
		}
	}
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

func (p *person) json(path, kind, body string, want int, into any) error {
	resp, text, err := p.do(http.MethodPost, path, kind, body)
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s answered %d: %s", path, resp.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

// browse walks from a page to the next until the browser is sent to the client.
func (p *person) browse(path string) (code string, err error) {
	method, body := http.MethodGet, ""
	for range 8 {
		resp, text, err := p.do(method, path, "application/x-www-form-urlencoded", body)
		if err != nil {
			return "", err
		}
		location := resp.Header.Get("Location")
		switch {
		case strings.HasPrefix(location, callback):
			u, err := url.Parse(location)
			if err != nil || u.Query().Get("code") == "" {
				return "", fmt.Errorf("the client is told %s", location)
			}
			return u.Query().Get("code"), nil
		case location != "":
			method, path, body = http.MethodGet, strings.TrimPrefix(location, issuer), ""
		case resp.StatusCode == http.StatusOK:
			method = http.MethodPost
			if path, body, err = p.fill(string(text)); err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("%s answered %d", path, resp.StatusCode)
		}
	}
	return "", fmt.Errorf("the sign-in does not end")
}

// fill answers the first form of a page with yes.
func (p *person) fill(text string) (action, body string, err error) {
	page, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return "", "", err
	}
	values := url.Values{}
	for n := range page.Descendants() {
		attr := func(name string) string {
			for _, a := range n.Attr {
				if a.Key == name {
					return a.Val
				}
			}
			return ""
		}
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form":
			action = cmp.Or(action, attr("action"))
		case n.Data == "input" && attr("type") == "password":
			values.Set(attr("name"), password)
		case n.Data == "input" && attr("name") == "username":
			values.Set("username", p.name)
		case n.Data == "input" && attr("name") != "":
			values.Add(attr("name"), attr("value"))
		case n.Data == "button" && attr("name") == "decision" && attr("value") == "allow":
			values.Set("decision", "allow")
		}
	}
	if action == "" {
		return "", "", fmt.Errorf("a page without a form")
	}
	return action, values.Encode(), nil
}
