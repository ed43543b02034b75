package config

import (
	"crypto/rsa"
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// workspace resolves provider.workspace. Nothing of the environment has a part
// in it: a variable that another program needs must not decide who gets in here.
func (r *providerResolver) workspace(f ProviderFile) connector.Workspace {
	at := func(name string) string { return r.key("workspace." + name) }
	file := f.Workspace
	if file == (WorkspaceFile{}) {
		return connector.Workspace{}
	}
	w := connector.Workspace{Credentials: file.Credentials, ServiceAccount: file.ServiceAccount, Admin: file.Admin, Groups: file.Groups}
	r.account(at("admin"), file.Admin, "an administrator", true)
	switch file.Credentials {
	case "":
		r.Add(at("credentials"), `is required: one of "key", "metadata", "external"`)
	case "key":
		r.serviceAccountKey(at, file, &w)
	case "metadata":
		if file.CredentialsFile != "" {
			r.Add(at("credentialsFile"), `has no meaning with "metadata"; remove it`)
		}
		r.account(at("serviceAccount"), file.ServiceAccount, "the service account", true)
	case "external":
		r.account(at("serviceAccount"), file.ServiceAccount, "the service account", true)
		r.externalAccount(at, file, &w)
	default:
		r.Add(at("credentials"), `%s is not one of "key", "metadata", "external"`, conf.Show(file.Credentials))
	}
	return w
}

func (r *resolver) account(at, address, whose string, required bool) {
	local, domain, ok := strings.Cut(address, "@")
	switch {
	case address == "" && required:
		r.Add(at, "is required: the e-mail address of %s", whose)
	case address == "":
	case !ok || local == "" || len(address) > conf.MaxText || conf.HasOther(local, conf.Letters+"0123456789._+-'") || conf.DNSNameProblem(domain) != "":
		r.Add(at, "%s is not the e-mail address of %s", conf.Show(address), whose)
	}
}

// serviceAccountKey reads the JSON file that the Google Cloud console makes. Its
// token_uri is not used: where a signed assertion goes must not follow from a file.
func (r *resolver) serviceAccountKey(at func(string) string, f WorkspaceFile, w *connector.Workspace) {
	content, ok := r.SecretFile(at("credentialsFile"), f.CredentialsFile)
	if !ok {
		return
	}
	var key struct {
		Type         string `json:"type"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
	}
	if json.Unmarshal([]byte(content), &key) != nil || key.Type != "service_account" {
		r.Add(at("credentialsFile"), `is not the JSON key of a service account ("type": "service_account")`)
		return
	}
	parsed, err := parseClientKey([]byte(key.PrivateKey))
	if _, isRSA := parsed.Signer().(*rsa.PrivateKey); err != nil || !isRSA || key.ClientEmail == "" {
		r.Add(at("credentialsFile"), "lacks client_email or an RSA key in private_key")
		return
	}
	if f.ServiceAccount != "" && f.ServiceAccount != key.ClientEmail {
		r.Add(at("serviceAccount"), "is another one than that of the key; remove it")
	}
	w.ServiceAccount = key.ClientEmail
	w.Key = connector.NewClientKey(parsed.Signer(), "RS256", key.PrivateKeyID)
}

// externalAccount reads the file of workload identity federation, of which the
// kinds that run a program or ask a URL are refused.
func (r *resolver) externalAccount(at func(string) string, f WorkspaceFile, w *connector.Workspace) {
	content, ok := r.SecretFile(at("credentialsFile"), f.CredentialsFile)
	if !ok {
		return
	}
	var file struct {
		Type             string `json:"type"`
		Audience         string `json:"audience"`
		SubjectTokenType string `json:"subject_token_type"`
		Source           struct {
			File   string `json:"file"`
			Format struct {
				Type  string `json:"type"`
				Field string `json:"subject_token_field_name"`
			} `json:"format"`
		} `json:"credential_source"`
	}
	problem := ""
	switch {
	case json.Unmarshal([]byte(content), &file) != nil || file.Type != "external_account":
		problem = `is not a credential configuration of workload identity federation ("type": "external_account")`
	case !strings.HasPrefix(file.Audience, "//iam.googleapis.com/"):
		problem = `has an audience that does not begin with "//iam.googleapis.com/"`
	case file.SubjectTokenType != "urn:ietf:params:oauth:token-type:jwt" && file.SubjectTokenType != "urn:ietf:params:oauth:token-type:id_token":
		problem = "has a subject_token_type that is neither a JWT nor an ID token"
	case !filepath.IsAbs(file.Source.File):
		problem = "has no credential_source.file with an absolute path; sources that run programs or ask URLs are not supported"
	case file.Source.Format.Type == "json" && file.Source.Format.Field == "":
		problem = "has credential_source.format json without subject_token_field_name"
	case file.Source.Format.Type != "" && file.Source.Format.Type != "text" && file.Source.Format.Type != "json":
		problem = "has a credential_source.format that is neither text nor json"
	}
	if problem != "" {
		r.Add(at("credentialsFile"), "%s", problem)
		return
	}
	w.Audience, w.TokenType, w.TokenFile = file.Audience, file.SubjectTokenType, file.Source.File
	if file.Source.Format.Type == "json" {
		w.TokenField = file.Source.Format.Field
	}
}
