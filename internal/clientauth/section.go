package clientauth

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Secret reads the keys clientSecret and clientSecretFile of a section, one of which
// is required; where, such as ` for "oidc"`, is appended to that message.
func Secret(c conf.Section, inline conf.Secret, name, where string) conf.Secret {
	secret, file := c.Key("clientSecret"), c.Key("clientSecretFile")
	value, at := inline.Reveal(), secret
	switch {
	case value != "" && name != "":
		c.Add(file, "excludes %s; set one of the two", secret)
		return conf.Secret{}
	case name != "":
		content, ok := c.SecretFile(file, name)
		if !ok {
			return conf.Secret{}
		}
		value, at = strings.TrimRight(content, "\r\n"), file
		if value == "" {
			c.Add(file, "the file is empty")
		}
	case value == "":
		if !c.IsMalformed(file) {
			c.Add(secret, "or %s is required%s", file, where)
		}
		return conf.Secret{}
	}
	c.NotReplaced(at, value)
	if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		c.Add(at, "holds a space, a line break or a control character, which no client secret does")
	}
	return conf.NewSecret(value)
}

// Method reads the key clientAuthMethod of a section: how this service proves
// itself. known are the methods that the server may take.
func Method(c conf.Section, method, standard string, withKey bool, known ...string) string {
	at := c.Key("clientAuthMethod")
	switch {
	case method == "":
		return standard
	case !slices.Contains(known, method):
		c.Add(at, "%s is not one of %s", conf.Show(method), conf.Quoted(known))
	case method == PrivateKeyJWT && !withKey:
		c.Add(at, `"private_key_jwt" needs clientKeyFile`)
	case method != PrivateKeyJWT && withKey:
		c.Add(at, `%s has no use for clientKeyFile; remove it, or choose "private_key_jwt"`, conf.Show(method))
	}
	return method
}

// KeyFile are the keys clientKeyFile, clientKeyID and clientKeyAlgorithm of a section.
type KeyFile struct{ File, ID, Algorithm string }

// Resolve reads the key, the zero Key if there is none.
func (a KeyFile) Resolve(c conf.Section) Key {
	at := c.Key("clientKeyFile")
	if a.File == "" {
		for name, value := range map[string]string{
			"clientKeyID": a.ID, "clientKeyAlgorithm": a.Algorithm,
		} {
			if value != "" {
				c.Add(c.Key(name), "has no meaning without clientKeyFile")
			}
		}
		return Key{}
	}
	c.Text(c.Key("clientKeyID"), a.ID)
	content, ok := c.SecretFile(at, a.File)
	if !ok {
		return Key{}
	}
	k, err := ParseKey([]byte(content))
	if err != nil {
		c.Add(at, "%s", err.Error())
		return Key{}
	}
	k.ID = cmp.Or(a.ID, k.ID)
	fitting := k.Algorithms()
	switch {
	case len(fitting) == 0:
		c.Add(at, "is a key of a kind that is not used: take RSA of at least 2048 bits, P-256 or Ed25519")
		return Key{}
	case a.Algorithm != "":
		k.Algorithm = a.Algorithm
	case k.Algorithm == "":
		k.Algorithm = fitting[0]
	}
	if !slices.Contains(fitting, k.Algorithm) {
		c.Add(c.Key("clientKeyAlgorithm"), "%s does not fit the key; one of %s does", conf.Show(k.Algorithm), strings.Join(fitting, ", "))
	}
	return k
}
