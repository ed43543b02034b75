package google

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Where Google's machines are. No configuration and no file changes them: what is sent
// there gives access to the whole directory.
const (
	tokenURL     = "https://oauth2.googleapis.com/token"
	stsURL       = "https://sts.googleapis.com/v1/token"
	signURL      = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	metadataURL  = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
	directoryURL = "https://admin.googleapis.com/admin/directory/v1/"

	usersScope  = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	groupsScope = "https://www.googleapis.com/auth/admin.directory.group.readonly"
	cloudScope  = "https://www.googleapis.com/auth/cloud-platform"
)

const (
	maxGroupPages = 5 // of 200 groups
	tokenSpare    = time.Minute
	maxTokenFile  = 64 << 10
)

// directory is that of a Google Workspace, asked in the name of an administrator
// by a service account with domain-wide delegation.
// https://developers.google.com/workspace/admin/directory/v1/guides/delegation
type directory struct {
	workspace Workspace
	client    *upstream.Client
	now       func() time.Time
	token     *upstream.Refetched[*oauth2.Token]
}

func newDirectory(w Workspace, client *upstream.Client, now func() time.Time) *directory {
	d := &directory{workspace: w, client: client, now: now}
	d.token = &upstream.Refetched[*oauth2.Token]{Fetch: d.fetchToken, Now: now, MaxAge: 45 * time.Minute, AfterError: 2 * time.Second}
	return d
}

// check refuses an account that the directory does not know or has suspended or
// archived, and returns its groups if they are wanted. subject is the account's number.
func (d *directory) check(ctx context.Context, subject string) ([]string, error) {
	token, err := d.accessToken(ctx)
	if err != nil {
		return nil, err
	}
	var user struct {
		ID        string `json:"id"`
		Suspended bool   `json:"suspended"`
		Archived  bool   `json:"archived"`
	}
	if err := d.get(ctx, token, "users/"+url.PathEscape(subject)+"?projection=basic&fields=id,suspended,archived", &user); err != nil {
		if status, ok := errors.AsType[*upstream.StatusError](err); ok && status.Code == http.StatusNotFound {
			return nil, upstream.NotAllowed("the account is not in the directory of the Workspace")
		}
		return nil, err
	}
	switch {
	case user.ID != subject:
		return nil, upstream.Rejected("the directory answers about another account", nil)
	case user.Suspended:
		return nil, upstream.NotAllowed("the account is suspended")
	case user.Archived:
		return nil, upstream.NotAllowed("the account is archived")
	case !d.workspace.Groups:
		return nil, nil
	}
	return d.groups(ctx, token, subject)
}

// groups returns the addresses of all groups that the account is a direct member
// of. Without all of them it returns an error: a rule may turn on any.
func (d *directory) groups(ctx context.Context, token, subject string) ([]string, error) {
	var all []string
	next := ""
	for range maxGroupPages {
		query := url.Values{"userKey": {subject}, "maxResults": {"200"}, "fields": {"nextPageToken,groups(email)"}}
		if next != "" {
			query.Set("pageToken", next)
		}
		var page struct {
			Groups []struct {
				Email string `json:"email"`
			} `json:"groups"`
			Next string `json:"nextPageToken"`
		}
		if err := d.get(ctx, token, "groups?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, g := range page.Groups {
			if g.Email == "" {
				return nil, upstream.Rejected("the directory names a group without its address", nil)
			}
			all = append(all, strings.ToLower(g.Email))
		}
		if next = page.Next; next == "" {
			return all, nil
		}
	}
	return nil, upstream.Misconfigured("the account is in more groups than can be read; take it out of some, or set workspace.groups to false", nil)
}

// get asks the Admin SDK Directory API. What it refuses is, but for an account
// that is not there, refused to this service and not to the person.
func (d *directory) get(ctx context.Context, token, path string, out any) error {
	return d.call(ctx, http.MethodGet, directoryURL+path, http.Header{"Authorization": {"Bearer " + token}}, nil, out)
}

func (d *directory) call(ctx context.Context, method, address string, header http.Header, body, out any) error {
	content := ""
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = string(text)
		header.Set("Content-Type", "application/json")
	}
	status, answer, err := d.client.Do(ctx, method, address, header, content)
	if err != nil {
		return upstream.Failed("Google's "+hostOf(address), err)
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(answer, out); err != nil {
			return upstream.Rejected("Google's "+hostOf(address)+" gave no JSON", nil)
		}
		return nil
	}
	if status == http.StatusNotFound && strings.HasPrefix(address, directoryURL+"users/") {
		return &upstream.StatusError{Code: status}
	}
	// https://developers.google.com/workspace/admin/directory/v1/limits
	var problem struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	_ = json.Unmarshal(answer, &problem) // it decides nothing about a person
	reason := ""
	if len(problem.Error.Errors) > 0 {
		reason = problem.Error.Errors[0].Reason
	}
	cause := errors.New(http.StatusText(status) + " " + reason + " " + problem.Error.Message)
	if strings.HasSuffix(strings.ToLower(reason), "ratelimitexceeded") || reason == "quotaExceeded" {
		return upstream.Unavailable("Google's "+hostOf(address)+" asks for patience", cause)
	}
	return upstream.Misconfigured("Google's "+hostOf(address)+" refuses; are domain-wide delegation, its scopes and provider.workspace.admin right?", cause)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "API"
	}
	return u.Host
}

// accessToken returns one that lives a while longer.
func (d *directory) accessToken(ctx context.Context) (string, error) {
	s, err := d.token.Get(ctx, 0)
	if err == nil && d.now().Add(tokenSpare).After(s.Value.Expiry) {
		s, err = d.token.Get(ctx, s.Serial)
	}
	if err != nil {
		return "", err
	}
	return s.Value.AccessToken, nil
}

// fetchToken exchanges an assertion of the service account, in the
// administrator's name, for an access token.
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest
func (d *directory) fetchToken(ctx context.Context) (*oauth2.Token, error) {
	ctx, cancel := d.client.Context(ctx)
	defer cancel()
	assertion, err := d.assertion(ctx)
	if err != nil {
		return nil, upstream.Failed("the service account's assertion", err)
	}
	token, err := d.client.Token(ctx, tokenURL, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
	})
	if err != nil {
		return nil, upstream.Failed("the service account's token request", err)
	}
	if token.Expiry.IsZero() {
		token.Expiry = d.now().Add(time.Hour)
	}
	return token, nil
}

func (d *directory) assertion(ctx context.Context) (string, error) {
	w, now := d.workspace, d.now()
	scope := usersScope
	if w.Groups {
		scope += " " + groupsScope
	}
	claims := map[string]any{
		"iss": w.ServiceAccount, "sub": w.Admin, "scope": scope, "aud": tokenURL, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if !w.Key.IsZero() {
		return clientauth.Sign(w.Key, claims)
	}
	token, err := d.ownToken(ctx)
	if err != nil {
		return "", err
	}
	// https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signJwt
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	var signed struct {
		JWT string `json:"signedJwt"`
	}
	address := signURL + url.PathEscape(w.ServiceAccount) + ":signJwt"
	err = d.call(ctx, http.MethodPost, address, http.Header{"Authorization": {"Bearer " + token}}, map[string]string{"payload": string(payload)}, &signed)
	return signed.JWT, err
}

// ownToken is that of this workload, with which it may let Google sign.
func (d *directory) ownToken(ctx context.Context) (string, error) {
	if d.workspace.Credentials == "metadata" {
		// https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
		var token struct {
			AccessToken string `json:"access_token"`
		}
		err := d.call(ctx, http.MethodGet, metadataURL, http.Header{"Metadata-Flavor": {"Google"}}, nil, &token)
		return token.AccessToken, err
	}
	subject, err := d.subjectToken()
	if err != nil {
		return "", upstream.Unavailable("the workload's own token", err)
	}
	// RFC 8693, section 2.1; https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
	token, err := d.client.Token(ctx, stsURL, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"audience":             {d.workspace.Audience},
		"scope":                {cloudScope},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token_type":   {d.workspace.TokenType},
		"subject_token":        {subject},
	})
	if err != nil {
		return "", upstream.Failed("Google's token exchange", err)
	}
	return token.AccessToken, nil
}

// subjectToken reads the token that the platform keeps fresh in a file.
func (d *directory) subjectToken() (string, error) {
	file, err := os.Open(d.workspace.TokenFile)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", err
	}
	if d.workspace.TokenField == "" {
		return strings.TrimSpace(string(data)), nil
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return "", errors.New("the file with the token is no JSON")
	}
	text, ok := object[d.workspace.TokenField].(string)
	if !ok {
		return "", errors.New("the file with the token lacks the field")
	}
	return text, nil
}
