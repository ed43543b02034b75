package google

import (
	"crypto/rsa"
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Workspace is the `provider.workspace` section. With it, an account that the directory does not know, or that is suspended or archived, is refused at sign-in and at each refresh. Only what is written here has an effect: no environment variable, and no file in a well-known place.
type Workspace struct {
	// Where the service account's credentials come from: "key", the JSON key in credentialsFile; "metadata", the metadata server of Google Cloud, as on GKE with Workload Identity Federation; "external", the credential configuration in credentialsFile for federation with another cloud or cluster. With the last two, Google signs for serviceAccount (IAM Credentials API, signJwt). Required.
	Credentials string `json:"credentials" enum:"key metadata external"`
	// JSON file for credentials "key" and "external". A relative path starts at the directory of the configuration file.
	CredentialsFile string `json:"credentialsFile"`
	// E-mail address of the service account that has domain-wide delegation. Required for credentials "metadata" and "external".
	ServiceAccount string `json:"serviceAccount"`
	// E-mail address of an administrator in whose name the directory is asked; the right to read users, and groups, is enough. Required.
	Admin string `json:"admin"`
	// Use the addresses of the groups of which the account is a direct member as the groups of the identity. Default false.
	Groups bool `json:"groups"`

	// Key is that of the service account, with "key".
	Key clientauth.Key
	// Audience, TokenType, TokenFile and TokenField say what is exchanged for
	// Google's credentials, with "external".
	Audience, TokenType, TokenFile, TokenField string
}

// resolve checks the section. It reads no environment variable: one that another
// program needs must not decide who may sign in here.
func (f *Workspace) resolve(c conf.Section) {
	if !c.IsSet(c.At) {
		return
	}
	account(c, "admin", f.Admin, "an administrator")
	switch f.Credentials {
	case "":
		c.Add(c.Key("credentials"), `is required: one of "key", "metadata", "external"`)
	case "key":
		f.serviceAccountKey(c)
	case "metadata":
		if f.CredentialsFile != "" {
			c.Add(c.Key("credentialsFile"), `has no meaning with "metadata"; remove it`)
		}
		account(c, "serviceAccount", f.ServiceAccount, "the service account")
	case "external":
		account(c, "serviceAccount", f.ServiceAccount, "the service account")
		f.externalAccount(c)
	}
}

func account(c conf.Section, key, address, whose string) {
	at := c.Key(key)
	local, domain, ok := strings.Cut(address, "@")
	switch {
	case address == "":
		c.Add(at, "is required: the e-mail address of %s", whose)
	case !ok || local == "" || len(address) > conf.MaxText || conf.HasOther(local, conf.Letters+"0123456789._+-'") || conf.DNSNameProblem(domain) != "":
		c.Add(at, "%s is not the e-mail address of %s", conf.Show(address), whose)
	}
}

// serviceAccountKey reads the JSON file that the Google Cloud console makes. Its
// token_uri is not used: where a signed assertion goes must not follow from a file.
func (f *Workspace) serviceAccountKey(c conf.Section) {
	content, ok := c.SecretFile(c.Key("credentialsFile"), f.CredentialsFile)
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
		c.Add(c.Key("credentialsFile"), `is not the JSON key of a service account ("type": "service_account")`)
		return
	}
	parsed, err := clientauth.ParseKey([]byte(key.PrivateKey))
	if _, isRSA := parsed.Signer().(*rsa.PrivateKey); err != nil || !isRSA || key.ClientEmail == "" {
		c.Add(c.Key("credentialsFile"), "lacks client_email or an RSA key in private_key")
		return
	}
	if f.ServiceAccount != "" && f.ServiceAccount != key.ClientEmail {
		c.Add(c.Key("serviceAccount"), "is another one than that of the key; remove it")
	}
	f.ServiceAccount = key.ClientEmail
	f.Key = clientauth.NewKey(parsed.Signer(), "RS256", key.PrivateKeyID)
}

// externalAccount reads the file of workload identity federation, of which the
// kinds that run a program or ask a URL are refused.
func (f *Workspace) externalAccount(c conf.Section) {
	content, ok := c.SecretFile(c.Key("credentialsFile"), f.CredentialsFile)
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
		c.Add(c.Key("credentialsFile"), "%s", problem)
		return
	}
	f.Audience, f.TokenType, f.TokenFile = file.Audience, file.SubjectTokenType, file.Source.File
	if file.Source.Format.Type == "json" {
		f.TokenField = file.Source.Format.Field
	}
}
