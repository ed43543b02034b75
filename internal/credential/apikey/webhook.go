package apikey

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/asked"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Webhook is the `apiKeys.webhook` section, and the kind of credential that it is
// about once Start has been called: keys of the operator's own making, about which
// an endpoint of the operator's is asked. It implements credential.Asker.
type Webhook struct {
	// URL that is asked about keys: a POST with the key as a Bearer token and the body {"mcpId": "https://mcp.example.com/mcp"}. It answers with JSON: allowed, and of an allowed key sub (required), name, email, groups, scopes, tools and exp (Unix seconds). Required beside other keys of the section.
	URL string `json:"url"`
	// Prefixes of such keys, of at least three characters, such as "ok1-". Nothing else is sent to the webhook. Required with url: at least one.
	Prefixes []string `json:"prefixes" max:"20" check:"unique"`
	// File with a token that proves this service to the webhook, in the header X-Forward-Auth-Token. Default: none.
	Token conf.Secret `json:"tokenFile" file:"line"`
	// File with the certificates of the authorities to trust for it, in PEM, and no others. Default: those of the system.
	Authorities []byte `json:"caFile"`
	// How long a question may take. If the webhook does not answer, requests get 503: no key is accepted unchecked, and none is treated as invalid.
	Timeout time.Duration `json:"timeout" default:"2s" min:"100ms" max:"4s"`
	// How long an answer that allows a key is used; a key that the webhook no longer allows ends within this time.
	Cache time.Duration `json:"cache" default:"30s" min:"1s" max:"10m"`
	// How long an answer that refuses a key is used.
	Negative time.Duration `json:"negative" default:"5s" min:"1s" max:"1m"`
	// Scopes of a key for which the answer names none. A server that declares no scopes has the scope "mcp". Default: none.
	Scopes []string `json:"scopes" max:"100" check:"scopes"`

	client  *asked.Client
	answers *asked.Answers[holder]
	now     func() time.Time
}

// On reports whether there is a webhook.
func (w *Webhook) On() bool { return w.URL != "" }

// webhookName is what stands in subjects and client ids for keys of the webhook.
const webhookName = "webhook"

func (w *Webhook) resolve(c conf.Section) {
	if !w.On() {
		if len(w.Prefixes)+len(w.Scopes) > 0 || !w.Token.IsZero() {
			c.Add(c.Key("url"), "is required where other keys of the section are set")
		}
		return
	}
	u, problem := conf.AbsoluteURL(w.URL)
	switch {
	case problem != "":
		c.Add(c.Key("url"), "%s %s", conf.ShowURL(w.URL), problem)
	case u.RawQuery != "" || u.ForceQuery:
		c.Add(c.Key("url"), "must not have a query")
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		c.Warn(c.Key("url"), "uses http: who can read what is sent to %s reads keys; use https where that network is not yours alone", conf.Show(u.Host))
	}
	at := c.Key("prefixes")
	if len(w.Prefixes) == 0 {
		c.Add(at, `is required: what your keys begin with, such as "ok1-"`)
	}
	for i, p := range w.Prefixes {
		switch {
		case len(p) < 3 || len(p) > 64 || conf.HasOther(p, conf.VisibleASCII) || strings.Contains(p, ","):
			c.Add(conf.Element(at, i), "is not the beginning of keys: 3 to 64 printable characters without spaces and commas")
		case strings.HasPrefix(p, "eyJ"):
			c.Add(conf.Element(at, i), "%s begins every signed token, and those must not be sent to the webhook", conf.Show(p))
		case strings.HasPrefix(p, Prefix) || strings.HasPrefix(Prefix, p):
			c.Add(conf.Element(at, i), "%s is how the keys of this service begin", conf.Show(p))
		}
	}
}

// Start makes w ready. Transport is the way to the webhook.
func (w *Webhook) Start(transport http.RoundTripper, now func() time.Time) {
	w.client, w.answers, w.now = asked.NewClient(transport, w.Timeout), asked.New[holder](w.Cache, w.Negative, now), now
}

// Adopt takes over what from was told about keys, which has the same settings. It must be
// called after Start and before w is used.
func (w *Webhook) Adopt(from *Webhook) { w.answers = from.answers }

// Recognises reports whether raw begins as keys do that the webhook knows.
func (w *Webhook) Recognises(raw string, _ *resource.Resource) bool {
	return slices.ContainsFunc(w.Prefixes, func(p string) bool { return strings.HasPrefix(raw, p) })
}

// Verify returns the principal of a key about which the webhook was asked before.
func (w *Webhook) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	if !r.APIKeys {
		return credential.Principal{}, notHere(r)
	}
	h, until, err := w.answers.Known(asked.KeyOf(raw, r.URI))
	if err != nil {
		return credential.Principal{}, err
	}
	return h.principal(raw, r, until), nil
}

// Ask asks the webhook.
func (w *Webhook) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	h, until, err := w.answers.Ask(ctx, asked.KeyOf(raw, r.URI), r.URI, func(ctx context.Context) (holder, time.Time, error) {
		return w.question(ctx, raw, r)
	})
	if err != nil {
		return credential.Principal{}, err
	}
	return h.principal(raw, r, until), nil
}

// Try asks the webhook about a key that was never issued, and returns nil if it refuses
// that. Start must have been called.
func (w *Webhook) Try(ctx context.Context, r *resource.Resource) error {
	_, _, err := w.question(ctx, w.Prefixes[0]+"check-config-"+rand.Text(), r)
	refused, known := errors.AsType[credential.Refused](err)
	switch {
	case err == nil, known && refused.Reason != reasons.APIKeyRefused:
		return errors.New("the webhook allows a key that was never issued; it must not be used")
	case known:
		return nil
	}
	return err
}

func (w *Webhook) question(ctx context.Context, raw string, r *resource.Resource) (holder, time.Time, error) {
	body, err := json.Marshal(map[string]string{"mcpId": r.URI})
	if err != nil {
		return holder{}, time.Time{}, err
	}
	header := http.Header{"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"}, "Accept": {"application/json"}}
	if !w.Token.IsZero() {
		header.Set("X-Forward-Auth-Token", w.Token.Reveal())
	}
	status, _, answer, err := w.client.Post(ctx, w.URL, header, string(body))
	switch {
	case err != nil:
		return holder{}, time.Time{}, err
	case status != http.StatusOK && status != http.StatusUnauthorized && status != http.StatusForbidden:
		return holder{}, time.Time{}, fmt.Errorf("the webhook answers with status %d", status)
	}
	members, err := strictjson.Members(answer, 4)
	if err != nil {
		return holder{}, time.Time{}, fmt.Errorf("the webhook's answer %w", err)
	}
	return w.read(members, status)
}

// holder is what the webhook said of a key that it allows.
type holder struct {
	person connector.Identity
	scope  string
	tools  []string
	ends   time.Time // zero for never
}

// errShape: the answer says something that cannot be read, which is not nothing.
var errShape = errors.New("the webhook's answer has a member of the wrong form")

// read reads an answer.
func (w *Webhook) read(members map[string]json.RawMessage, status int) (holder, time.Time, error) {
	var allowed *bool
	if json.Unmarshal(members["allowed"], &allowed) != nil || allowed == nil || *allowed && status != http.StatusOK {
		return holder{}, time.Time{}, errShape
	}
	if !*allowed {
		return holder{}, time.Time{}, credential.Refused{Reason: reasons.APIKeyRefused}
	}
	set := claim.Set(members)
	h := holder{person: connector.Identity{Provider: rule.KeyNamespace, Namespace: rule.KeyNamespace + ":" + webhookName}}
	if h.person.Subject = claim.Subject(set.Identifier("sub")); h.person.Subject == "" {
		return holder{}, time.Time{}, errShape
	}
	claim.Fill(context.Background(), &h.person, set, claim.Names{
		Email: "email", Name: "name", Groups: "groups", Verified: func(string, claim.Set) bool { return true }, // the operator's own word
	})
	scopes, ok := texts(members["scopes"])
	tools, okToo := texts(members["tools"])
	var exp json.Number
	if raw := members["exp"]; len(raw) > 0 && string(raw) != "null" && json.Unmarshal(raw, &exp) != nil {
		ok = false
	}
	if !ok || !okToo || slices.ContainsFunc(scopes, func(s string) bool { return !conf.IsScopeToken(s) }) || len(scopes) > conf.MaxScopes || len(tools) > conf.MaxNames {
		return holder{}, time.Time{}, errShape
	}
	if members["scopes"] == nil {
		scopes = w.Scopes
	}
	h.scope, h.tools = strings.Join(scopes, " "), tools
	if exp != "" {
		seconds, err := exp.Int64()
		if err != nil || seconds < 1 || seconds > never {
			return holder{}, time.Time{}, errShape
		}
		if h.ends = time.Unix(seconds, 0); !w.now().Before(h.ends) {
			return holder{}, time.Time{}, credential.Refused{Reason: reasons.APIKeyExpired}
		}
	}
	return h, h.ends, nil
}

// texts reads a list of texts, or one text with spaces between; nothing is no list.
func texts(raw json.RawMessage) (list []string, ok bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, true
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return strings.Fields(one), true
	}
	if json.Unmarshal(raw, &list) != nil || slices.Contains(list, "") {
		return nil, false
	}
	if list == nil {
		list = []string{}
	}
	return list, true
}

// principal is that of a key whose answer counts until then.
func (h holder) principal(raw string, r *resource.Resource, until time.Time) credential.Principal {
	client := ClientID(webhookName)
	expires := int64(never)
	if !h.ends.IsZero() {
		expires = h.ends.Unix()
	}
	sum := sha256.Sum256([]byte(raw))
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: h.person.FullSubject(), Client: client, Scope: h.scope,
		Email: h.person.Email, Name: h.person.Name, Groups: h.person.Groups,
		Outsider: &policy.Outsider{Person: h.person, Client: policy.Client{Key: oauth.ClientKey(client), Kind: rule.KindKey}},
		Key:      &credential.Key{Tools: h.tools},
		ID:       base64.RawURLEncoding.EncodeToString(sum[:12]), Expires: expires, Until: until.Unix(),
	}
}
