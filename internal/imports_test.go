// Package internal_test holds the directions in which packages may import each
// other. Rules are data with their reasons; a package without a rule of its own
// is bound by its layer.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mcp-forward-auth/mcp-forward-auth/internal/"

// rule forbids imports. Packages are named below internal/; a name ending in
// "/..." includes what is below it, "*" is every package of this module.
type rule struct {
	from   string
	forbid []string
	except []string
	reason string
}

// aCredentialAlone is why kinds of credential do not import one another.
const aCredentialAlone = "a kind of credential can be changed or taken out alone"

func otherCredentials(name string) (others []string) {
	for _, kind := range []string{"apikey", "introspection", "issuer", "own", "personal", "session"} {
		if kind != name {
			others = append(others, "credential/"+kind)
		}
	}
	return others
}

// anAssertionAlone is why kinds of assertion do not import one another.
const anAssertionAlone = "a kind of assertion can be changed or taken out alone"

func otherAssertions(name string) (others []string) {
	for _, kind := range []string{"kubernetes", "workload", "idjag", "kinds"} {
		if kind != name {
			others = append(others, "assertion/"+kind)
		}
	}
	return others
}

// aKindAlone is why kinds of identity provider do not import one another.
const aKindAlone = "a kind of provider can be changed or taken out alone"

func otherKinds(name string) (others []string) {
	for _, kind := range []string{"github", "google", "microsoft", "oauth2", "oidc", "static"} {
		if kind != name {
			others = append(others, "connector/"+kind)
		}
	}
	return others
}

var rules = []rule{
	{"reasons", []string{"*"}, nil, "the list of reasons is for every package that refuses"},
	{"oauth", []string{"*"}, []string{"reasons"}, "the vocabulary is pure, so that all may share it"},
	{"seal", []string{"*"}, nil, "sealing knows keys and bytes, not what they mean"},
	{"audit", []string{"*"}, []string{"reasons"}, "entries are typed words; whoever writes one brings them"},
	{"tracing", []string{"*"}, []string{"audit", "conf", "forwardauth", "limit", "web"}, "a trace is told of what happens and changes nothing"},
	{"gatewatch", []string{"*"}, []string{"conf", "resource"}, "what looks from outside knows what everyone may know, and no key or token"},
	{"flows", []string{"*"}, []string{"audit", "reasons", "web"}, "what is shown of a sign-in comes from the audit log and nowhere else"},
	{"explain", []string{"*"}, []string{"audit", "flows", "reasons"}, "what became of a sign-in is told from the audit log, far from the service"},
	{"bridge", []string{"*"}, []string{"jwks", "signed", "strictjson"}, "what starts programs shares nothing with what holds keys; it checks one signed header, and reads messages as the service does"},
	{"conf", []string{"*"}, nil, "the kinds of values that sections are made of know no section"},
	{"policy/rule", []string{"*"}, nil, "rules are words of the operator; what they mean is for policy and forwardauth"},
	{"policy/lint", []string{"*"}, []string{"policy/rule", "registration"}, "the linter of rules sees rules and clients, not the file they come from"},
	{"policy/whatif", []string{"*"}, []string{"assertion", "jwks", "connector", "connector/kinds", "credential/apikey", "credential/issuer", "credential/session", "oauth", "policy", "policy/rule", "provider", "reasons", "registration", "resource", "revocation"}, "what would be decided follows from the configuration and the deny-list"},
	{"outbound", []string{"*"}, []string{"conf"}, "the names of headers know nothing of who sets them"},
	{"config", []string{"forwardauth", "authorize", "discovery", "catalog", "authcode", "policy"}, nil, "the configuration fills in the settings of its owners, and runs nothing"},
	{"page", []string{"*"}, []string{"conf"}, "pages show text; they decide nothing"},
	{"guard/...", []string{"*"}, []string{"conf", "expiring", "guard/..."}, "the memory of single events knows ids only"},
	{"dpop", []string{"*"}, []string{"oauth", "reasons", "seal", "strictjson"}, "a proof is checked against what the caller says of the request, and knows no token and no client"},
	{"dpop/dpoptest", []string{"*"}, nil, "what makes proofs must not share a mistake with what verifies them"},
	{"refusal", []string{"*"}, []string{"expiring", "oauth"}, "a hint knows names only"},
	{"claim", []string{"*"}, []string{"connector", "policy/rule"}, "what an issuer says of a person is read alike, whoever asks"},
	{"jwks", []string{"*"}, nil, "published keys are read alike, whoever verifies with them"},
	{"keysource", []string{"*"}, []string{"conf", "jwks", "signed"}, "where keys are published is said alike, whatever they sign"},
	{"actor", []string{"*"}, nil, "who acts for whom is a word that tokens, rules and logs share"},
	{"assertion/kinds", []string{"*"}, []string{"assertion/..."}, "the list of kinds knows the kinds"},
	{"assertion/kubernetes", otherAssertions("kubernetes"), nil, anAssertionAlone},
	{"assertion/workload", otherAssertions("workload"), nil, anAssertionAlone},
	{"assertion/idjag", otherAssertions("idjag"), nil, anAssertionAlone},
	{"assertion/...", []string{"*"}, []string{"actor", "assertion/...", "claim", "conf", "connector", "jwks", "keysource", "oauth", "reasons", "signed"}, "an assertion says who a machine is and what it is for, and knows no flow"},
	{"signed", []string{"*"}, []string{"claim", "jwks", "oauth", "reasons", "strictjson"}, "a signed token is taken apart in one way, whatever it is for"},
	{"strictjson", []string{"*"}, nil, "how JSON is read does not depend on what it is about"},
	{"keyset", []string{"*"}, []string{"conf"}, "keys do not know what they sign"},
	{"reload", []string{"*"}, nil, "what follows a file does not know what is in it"},
	{"clientauth", []string{"*"}, []string{"conf"}, "how this service proves itself elsewhere does not depend on what it asks for"},
	{"breaker", []string{"*"}, nil, "a breaker sees requests and answers, not what they are about"},
	{"egress", []string{"*"}, []string{"conf", "limit"}, "what reaches the network for strangers shares nothing with the rest"},
	{"resource", []string{"*"}, []string{"oauth", "policy/rule"}, "the table is made of the configuration alone"},
	{"token", []string{"*"}, []string{"actor", "conf", "keyset", "oauth", "seal"}, "tokens are checked without the network, and know no flow"},
	{"credential/...", []string{"*"}, []string{"actor", "claim", "clientauth", "conf", "connector", "credential/...", "expiring", "jwks", "keyset", "keysource", "limit", "oauth", "policy", "policy/rule", "providertoken", "reasons", "resource", "revocation", "seal", "signed", "strictjson", "token"}, "a credential says who comes with it, and knows no flow"},
	{"device", []string{"*"}, []string{"guard", "oauth", "reasons", "seal"}, "a device that waits is a sealed record and nothing else"},
	{"authcode", []string{"*"}, []string{"connector", "oauth", "seal"}, "a code is a sealed value and nothing else"},
	{"policy", []string{"*"}, []string{"connector", "oauth", "policy/rule", "reasons", "resource"}, "who may come in depends on the identity and the configuration"},
	{"provider", []string{"*"}, []string{"connector", "policy"}, "which providers there are is for the configuration to say, and how to talk to one for its connector"},
	{"providertoken", []string{"*"}, []string{"conf", "connector", "expiring", "guard", "oauth", "outbound", "policy", "provider", "reasons", "resource", "revocation", "seal", "token"}, "what an MCP server gets of a provider's tokens follows from the provider and the configuration, whatever client asks"},
	{"tokenexchange", []string{"*"}, []string{"conf", "oauth", "resource"}, "who may exchange tokens is a section of the configuration; what an exchange checks is the token endpoint's"},
	{"catalog", []string{"*"}, []string{"oauth", "policy/rule"}, "what an MCP server says is foreign text; beside it only the operator has a word"},
	{"connector/github", otherKinds("github"), nil, aKindAlone},
	{"connector/oauth2", otherKinds("oauth2"), nil, aKindAlone},
	{"connector/oidc", otherKinds("oidc"), nil, aKindAlone},
	{"connector/static", otherKinds("static"), nil, aKindAlone},
	{"credential/apikey", otherCredentials("apikey"), nil, aCredentialAlone},
	{"credential/introspection", otherCredentials("introspection"), nil, aCredentialAlone},
	{"credential/issuer", otherCredentials("issuer"), nil, aCredentialAlone},
	{"credential/own", otherCredentials("own"), nil, aCredentialAlone},
	{"credential/personal", otherCredentials("personal"), nil, aCredentialAlone},
	{"credential/session", otherCredentials("session"), nil, aCredentialAlone},
	{"people", []string{"*"}, []string{"guard", "seal"}, "what a person allowed is written down for people to see, and decides nothing"},
	{"account", []string{"token", "keyset", "grant", "egress", "registration", "authcode"}, nil, "what a person sees and ends mints no tokens and knows no client"},
	{"ssf", []string{"*"}, []string{"audit", "claim", "conf", "jwks", "reasons", "resource", "revocation", "signed", "web"}, "an event can end something and knows nothing else"},
	{"operator", []string{"*"}, []string{"audit", "conf", "people", "reasons", "revocation", "web"}, "what operators ask for is in the records and the list of what was ended"},
	// Google and Microsoft speak OpenID Connect, which is in the directory of its own kind.
	{"connector/google", otherKinds("google"), []string{"connector/oidc"}, aKindAlone},
	{"connector/microsoft", otherKinds("microsoft"), []string{"connector/oidc"}, aKindAlone},
	{"connector/...", []string{"*"}, []string{"clientauth", "claim", "conf", "connector/...", "jwks", "oauthtest", "egress", "policy/rule"}, "a connector knows nothing of MCP clients, scopes or tokens of ours"},

	{"forwardauth", []string{"connector/...", "egress", "authorize", "registration", "authcode", "page"}, nil, "the decision needs no network, no client lookup and no page"},
	{"authorize", []string{"token", "keyset", "grant", "egress"}, nil, "the browser conversation cannot mint tokens"},
	{"grant", []string{"catalog", "page", "egress", "connector/..."}, []string{"connector"}, "the token endpoint shows no page and reaches an identity provider through one interface only"},
	{"discovery", []string{"token", "keyset", "seal", "authcode", "registration", "connector/..."}, nil, "documents are made of configuration and public keys"},
	{"registration", []string{"token", "keyset", "authcode", "connector/...", "page", "policy"}, nil, "clients are known before anybody signs in"},
	{"filter", []string{"*"}, []string{"strictjson"}, "what a list shows depends on the page and the decision alone, whatever door it comes through"},
	{"certificate", []string{"*"}, []string{"conf", "reload", "resource", "web"}, "what ends TLS knows hosts, and nothing of what is asked of them"},
	{"relay", []string{"*"}, []string{"filter", "audit", "conf", "forwardauth", "outbound", "reasons", "resource", "web"}, "what stands in the place of a gateway knows decisions and MCP servers, and no flow"},
	{"envoy", []string{"*"}, []string{"filter", "forwardauth"}, "what speaks Envoy's protocols translates, and decides nothing"},
	{"migrate", []string{"*"}, []string{"conf", "credential/apikey", "strictjson"}, "a translation makes text of text, and runs nothing of what it writes about"},
	{"kuadrant", []string{"*"}, []string{"clientauth", "conf"}, "the header for another gateway's filter is made of names, whoever may see them"},
	{"web", []string{"*"}, []string{"conf", "oauth", "reasons", "resource", "audit"}, "the HTTP kit decides nothing"},
	{"sample", []string{"*"}, nil, "the sample MCP server knows nothing of authorization"},
	{"gatewaytest", []string{"*"}, nil, "gateways that are played must not share a mistake with what answers them"},
	{"oauthtest", []string{"*"}, nil, "fakes must not share a mistake with what they test"},
}

// endpoints never import one another: what they share lives below them.
var endpoints = []string{"authorize", "grant", "forwardauth", "discovery", "account"}

// knowConfig are the packages that know the whole configuration file. Everything
// else gets what concerns it from one of them.
var knowConfig = []string{"server", "demo", "servertest", "conformance", "e2e"}

// roots may know everything; nothing below may import them.
var roots = []string{"server", "demo", "doctor", "servertest", "conformance", "e2e"}

// testOnly packages are imported by tests and by each other, never by the program.
var testOnly = []string{"oauthtest", "servertest", "conformance", "e2e", "conf/conftest", "gatewaytest", "connector/connectortest", "guard/guardtest", "guardtest", "dpop/dpoptest"}

// typesOnly packages may be imported for their data only: these names reach the network.
var typesOnly = []struct {
	from, of string
	names    []string
	reason   string
}{
	{"forwardauth", "catalog", []string{"Fetcher", "Cache", "New", "Options", "Target"}, "the decision looks at what is known and never asks"},
	{"forwardauth", "token", []string{"Verifier", "Issuer", "Claims", "Person"}, "what a request proves itself with is for the kinds of credential"},
	{"discovery", "catalog", []string{"Fetcher", "Cache", "New", "Options", "Target"}, "documents are made without I/O"},
	{"forwardauth", "net/http", []string{"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Post", "Head", "NewRequest", "NewRequestWithContext"}, "net/http is there for handler types"},
	{"grant", "net/http", []string{"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Post", "Head", "NewRequest", "NewRequestWithContext"}, "the token endpoint reaches no network itself"},
	{"config", "page", []string{"New", "Pages", "Renderer"}, "the configuration reads the brand and shows no page"},
	{"config", "token", []string{"Issuer", "Verifier", "Identities"}, "the configuration says how long tokens live and makes none"},
	{"config", "keyset", []string{"New", "Set", "Ephemeral", "Seed"}, "the configuration reads seeds and makes no keys"},
	{"config", "egress", []string{"Client"}, "the configuration reaches no network"},
	{"config", "grant", []string{"Endpoint", "Refresh", "NewRefresh", "NewFailures", "NewRevocations"}, "the configuration asks which grants there are and runs none"},
	{"forwardauth", "gatewatch", []string{"New", "Watch", "NewLooker", "Looker", "LookAtAll"}, "the decision knows a question of the gate watch and asks none"},
	{"config", "gatewatch", []string{"New", "Watch", "NewLooker", "Looker", "LookAtAll"}, "the configuration says what to look at and does not look"},
	{"config", "certificate", []string{"New", "Certificates", "ToHTTPS"}, "the configuration says where certificates come from and gets none"},
	{"filter", "net/http", []string{"Request", "Response", "Header", "Handler"}, "a filter is for every door, HTTP or not"},
	{"token", "net/http", []string{"Client", "Transport", "Get"}, "keys are never fetched"},
}

type file struct {
	pkg, name string
	imports   map[string]string // path → name in the file
	syntax    *ast.File
}

func TestImports(t *testing.T) {
	files := parse(t)
	if len(files) < 50 {
		t.Fatalf("only %d files found", len(files))
	}
	known := map[string]bool{}
	for _, f := range files {
		known[f.pkg] = true
		for path := range f.imports {
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if slices.Contains(testOnly, to) && !slices.Contains(testOnly, f.pkg) {
				t.Errorf("%s imports %s, which is for tests", f.name, to)
			}
			if slices.Contains(roots, to) && !slices.Contains(roots, f.pkg) {
				t.Errorf("%s imports %s: nothing below a root may know it", f.name, to)
			}
			if slices.Contains(endpoints, f.pkg) && slices.Contains(endpoints, to) && f.pkg != to {
				t.Errorf("%s imports %s: endpoints never import one another", f.name, to)
			}
			if to == "config" && !slices.Contains(knowConfig, f.pkg) && f.pkg != "config" {
				t.Errorf("%s imports config: settings live with the package that uses them", f.name)
			}
			for _, r := range rules {
				if matches(r.from, f.pkg) && anyMatches(r.forbid, to) && !anyMatches(r.except, to) && to != f.pkg {
					t.Errorf("%s imports %s: %s", f.name, to, r.reason)
				}
			}
		}
		checkNames(t, f)
	}
	for _, r := range rules { // a rule about nothing is a mistake
		if name := strings.TrimSuffix(r.from, "/..."); !known[name] {
			t.Errorf("there is a rule for package %s, but no such package", name)
		}
	}
}

func checkNames(t *testing.T, f file) {
	for _, r := range typesOnly {
		if f.pkg != r.from {
			continue
		}
		path := r.of
		if !strings.Contains(path, "/") {
			path = module + path
		}
		name, ok := f.imports[path]
		if !ok {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == name && slices.Contains(r.names, s.Sel.Name) {
					t.Errorf("%s uses %s.%s: %s", f.name, name, s.Sel.Name, r.reason)
				}
			}
			return true
		})
	}
}

func matches(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == below || strings.HasPrefix(pkg, below+"/")
	}
	return pattern == "*" || pattern == pkg
}

func anyMatches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// parse reads every file below internal/ that is not a test.
func parse(t *testing.T) []file {
	t.Helper()
	var files []file
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
			return err
		}
		syntax, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := file{pkg: filepath.ToSlash(filepath.Dir(path)), name: filepath.ToSlash(path), imports: map[string]string{}, syntax: syntax}
		for _, spec := range syntax.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports[p] = p[strings.LastIndexByte(p, '/')+1:]
			if spec.Name != nil {
				f.imports[p] = spec.Name.Name
			}
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
