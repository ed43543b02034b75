//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
)

const (
	eventsAudience = "https://mcp.example.com/events"
	pushToken      = "e2e-push-token-0123456789abcdef0123456789"
)

// TestKeycloakSecurityEvents has a real Keycloak's transmitter say that a person was
// signed out, or got another password: a call with the token of before is refused at
// both of two replicas within two seconds of Keycloak's event, by push and by poll.
func TestKeycloakSecurityEvents(t *testing.T) {
	k := startKeycloak(t)
	store := startRedis(t)
	for _, delivery := range []string{"push", "poll"} {
		t.Run(delivery, func(t *testing.T) {
			track(t)
			s := startEventReceiver(t, k, "events-"+delivery, delivery, store)
			for _, tt := range []struct {
				name  string
				event func(t *testing.T)
			}{
				{"signed out by an administrator", func(t *testing.T) {
					k.admin(t, http.MethodPost, s.user+"/logout", nil, http.StatusNoContent)
				}},
				{"another password", func(t *testing.T) {
					k.admin(t, http.MethodPut, s.user+"/reset-password", map[string]any{"type": "password", "value": alice.password, "temporary": false}, http.StatusNoContent)
				}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					track(t)
					s.endedBy(t, tt.event)
				})
			}
		})
	}
}

// eventReceiver is two replicas that receive the events of a realm of Keycloak's.
type eventReceiver struct {
	one, two *servertest.Service
	mcpURL   string
	user     string // path of the person at Keycloak
}

// endedBy: what the person allowed before the event is over at both replicas, and
// they can sign in again.
func (s *eventReceiver) endedBy(t *testing.T, event func(t *testing.T)) {
	t.Helper()
	g, a := signIn(t, s.mcpURL, alice)
	for _, replica := range []*servertest.Service{s.one, s.two} {
		if got := replica.Ask(t, s.mcpURL, g.AccessToken).Status; got != http.StatusOK {
			t.Fatalf("before the event: %d", got)
		}
	}
	time.Sleep(1100 * time.Millisecond) // the event's time has whole seconds
	before := len(s.taken())
	event(t)
	happened := time.Now()
	for i, replica := range []*servertest.Service{s.one, s.two} {
		for replica.Ask(t, s.mcpURL, g.AccessToken).Status == http.StatusOK {
			if time.Since(happened) > 20*time.Second {
				t.Fatalf("the call goes on at replica %d\n%s", i+1, tail(s.one.Log.String(), 3000))
			}
			time.Sleep(20 * time.Millisecond)
		}
		ended := time.Now()
		waitFor(t, "the entry about the event", func() bool { return len(s.taken()) > before }) // it is written after the call has ended
		took := ended.Sub(s.taken()[before])
		t.Logf("replica %d: %v after Keycloak's answer to the administrator, %v after the event came", i+1, ended.Sub(happened).Round(10*time.Millisecond), took.Round(10*time.Millisecond))
		if took > 2*time.Second {
			t.Errorf("replica %d: the event ended the call after %v", i+1, took)
		}
	}
	if next := a.client.refresh(t, g.RefreshToken); next.status != http.StatusBadRequest || next.Error != "invalid_grant" {
		t.Errorf("a refresh after the event: %d %s", next.status, next.Error)
	}
	time.Sleep((revocation.IssueSlack + 1) * time.Second)
	again, _ := signIn(t, s.mcpURL, alice)
	if got := s.two.Ask(t, s.mcpURL, again.AccessToken).Status; got != http.StatusOK {
		t.Errorf("after another sign-in: %d", got)
	}
}

// taken is when events were taken.
func (s *eventReceiver) taken() (at []time.Time) {
	for line := range strings.Lines(s.one.Log.String()) {
		var record struct {
			Time  time.Time
			Audit map[string]string
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Audit["event"] == "security_event.taken" && strings.Contains(record.Audit["cause"], "/caep/") {
			at = append(at, record.Time)
		}
	}
	return at
}

// startEventReceiver makes a realm with a stream, and the replicas that receive it.
func startEventReceiver(t *testing.T, k *keycloak, realm, delivery string, store *redisServer) *eventReceiver {
	t.Helper()
	r := &eventReceiver{}
	address := forwarded(t, func() string { return r.one.Address() })
	r.mcpURL = "http://" + address + "/mcp"
	port := address[strings.LastIndex(address, ":")+1:]
	k.makeRealm(t, realm, map[string]any{"secret": clientSecret}, &stack{port: port})
	stream := ssf.StreamFile{ID: "kc", Issuer: k.base + "/realms/" + realm, Audience: eventsAudience, Poll: ssf.PollFile{Interval: time.Second}}
	endpoint := k.makeStream(t, realm, delivery, "http://"+address+"/security-events/kc")
	files := map[string]string{"push-token": pushToken}
	if delivery == "push" {
		stream.Push.Token = conf.NewSecret("push-token")
	} else {
		stream.Poll.Endpoint, stream.Poll.Token = endpoint, conf.NewSecret("poll-token")
		files["poll-token"] = k.receiverToken(t, realm)
	}
	r.one = servertest.Start(t, servertest.Options{
		HTTPClient: http.DefaultClient, Files: files,
		Edit: func(f *config.File) {
			f.Provider = config.ProviderFile{
				Name: "oidc", AllowedEmailDomains: []string{`example\.com`},
				Settings: &oidc.Settings{IssuerURL: stream.Issuer, KeyedApp: upstream.KeyedApp{App: upstream.App{ClientID: "mfa-e2e", ClientSecret: conf.NewSecret(clientSecret)}}},
			}
			f.Proxy.Hosts[0].Host, f.Proxy.Hosts[0].Scheme = address, "http"
			f.SecurityEvents.Streams = []ssf.StreamFile{stream}
			f.Guard = config.GuardFile{Backend: "redis"}
			f.Guard.Redis.Addresses = []string{store.address()}
			f.Guard.Redis.KeyPrefix = realm + ":"
		},
	})
	r.two = r.one.Replica()
	r.user = k.userPath(t, realm)
	return r
}

// makeStream turns the transmitter of a realm on and makes a stream of a receiver, and
// returns where its events are fetched from.
func (k *keycloak) makeStream(t *testing.T, realm, delivery, push string) (poll string) {
	t.Helper()
	var attributes struct {
		Attributes map[string]any `json:"attributes"`
	}
	if err := json.Unmarshal(k.admin(t, http.MethodGet, "/admin/realms/"+realm, nil, http.StatusOK), &attributes); err != nil {
		t.Fatal(err)
	}
	if attributes.Attributes == nil {
		attributes.Attributes = map[string]any{}
	}
	attributes.Attributes["ssf.transmitterEnabled"] = "true"
	k.admin(t, http.MethodPut, "/admin/realms/"+realm, attributes, http.StatusNoContent)
	k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/clients", map[string]any{
		"clientId": "receiver", "enabled": true, "publicClient": false, "secret": clientSecret, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
		"optionalClientScopes": []string{"ssf.read", "ssf.manage"},
		"attributes": map[string]any{
			"ssf.enabled": "true", "ssf.defaultSubjects": "ALL", "ssf.validPushUrls": push, "ssf.streamAudience": eventsAudience,
			"ssf.supportedEvents": "CaepSessionRevoked##CaepCredentialChange", "access.token.lifespan": "3600",
		},
	}, http.StatusCreated)
	deliver := map[string]any{"method": "urn:ietf:rfc:8936"}
	if delivery == "push" {
		deliver = map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": push, "authorization_header": "Bearer " + pushToken}
	}
	answer := k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/ssf/clients/receiver/stream", map[string]any{
		"delivery": deliver,
		"events_requested": []string{
			"https://schemas.openid.net/secevent/caep/event-type/session-revoked", "https://schemas.openid.net/secevent/caep/event-type/credential-change",
		},
	}, http.StatusCreated)
	var stream struct {
		Delivery struct {
			Endpoint string `json:"endpoint_url"`
		} `json:"delivery"`
	}
	if err := json.Unmarshal(answer, &stream); err != nil || stream.Delivery.Endpoint == "" {
		t.Fatalf("%v: %s", err, answer)
	}
	return stream.Delivery.Endpoint
}

// receiverToken is what the receiver polls with.
func (k *keycloak) receiverToken(t *testing.T, realm string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"receiver"}, "client_secret": {clientSecret}, "scope": {"ssf.read ssf.manage"}}
	_, text := do(t, http.MethodPost, k.base+"/realms/"+realm+"/protocol/openid-connect/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	var g grant
	if err := json.Unmarshal(text, &g); err != nil || g.AccessToken == "" {
		t.Fatalf("no token of the receiver: %s", text)
	}
	if !slices.Contains(strings.Fields(g.Scope), "ssf.read") {
		t.Logf("scope of the receiver: %q", g.Scope)
	}
	return g.AccessToken
}

func (k *keycloak) userPath(t *testing.T, realm string) string {
	t.Helper()
	var users []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(k.admin(t, http.MethodGet, "/admin/realms/"+realm+"/users?username="+alice.username, nil, http.StatusOK), &users); err != nil || len(users) != 1 {
		t.Fatalf("%v, %d users", err, len(users))
	}
	return "/admin/realms/" + realm + "/users/" + users[0].ID
}
