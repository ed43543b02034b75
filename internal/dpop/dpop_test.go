package dpop

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

var start = time.Unix(1_800_000_000, 0)

func fixedClock() time.Time { return start }

const (
	origin = "https://mcp.example.com"
	path   = "/mcp"
	here   = origin + path
	token  = "an.access.token"
)

var tokenHash = sha256.Sum256([]byte(token))

func request() Request {
	return Request{Method: "POST", Origin: origin, Path: path, TokenHash: &tokenHash}
}

func clientKey(alg string) *dpoptest.Key {
	k := dpoptest.New(alg)
	k.Now = fixedClock
	return k
}

func reasonOf(err error) reasons.Reason {
	refused, _ := errors.AsType[Refused](err)
	return refused.Reason
}

func TestEveryAlgorithm(t *testing.T) {
	if got := Algorithms(); strings.Join(got, " ") != "ES256 ES384 Ed25519 EdDSA PS256 RS256" {
		t.Errorf("algorithms %q", got)
	}
	for _, alg := range Algorithms() {
		t.Run(alg, func(t *testing.T) {
			v, k := New(nil, fixedClock), clientKey(alg)
			for range 2 { // a key that is new, and one that was seen
				p, err := v.Verify([]string{k.Proof("POST", here, dpoptest.Token(token))}, request())
				if err != nil || p.Thumbprint != k.Thumbprint() || !p.Expires.Equal(start.Add(Window+time.Second)) {
					t.Fatalf("%+v, %v", p, err)
				}
			}
			if len(v.keys.by) != 1 {
				t.Errorf("%d keys are remembered", len(v.keys.by))
			}
		})
	}
}

// JSON may spell any character with an escape (RFC 8259, section 7).
func TestEscapes(t *testing.T) {
	k := clientKey("ES256")
	spelt := func(method string) string {
		header, claims := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": k.JWK()}, fmt.Sprintf(
			`{"jti":"1","htm":%s,"htu":"https:\/\/mcp.example.com\/mcp","iat":%d,"ath":%q}`, method, start.Unix(), dpoptest.Hash(token))
		text, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		return k.Sign(string(text), claims)
	}
	for method, want := range map[string]reasons.Reason{
		`"POST"`: "", `"\u0050OST"`: "", `"P\u004fST"`: "",
		`"\u0070OST"`: reasons.DPoPProofMethod, `"POST\u0000"`: reasons.DPoPProofMalformed, `"POST\\"`: reasons.DPoPProofMethod, `""`: reasons.DPoPProofMalformed, `1`: reasons.DPoPProofMalformed,
	} {
		if _, err := New(nil, fixedClock).Verify([]string{spelt(method)}, request()); reasonOf(err) != want {
			t.Errorf("htm %s: %v, want %q", method, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	k, other := clientKey("ES256"), clientKey("ES256")
	rsaKey := clientKey("RS256")
	good := func(changes ...dpoptest.Change) []string {
		return []string{k.Proof("POST", here, append([]dpoptest.Change{dpoptest.Token(token)}, changes...)...)}
	}
	changed := func(proof []string, from, to int, with string) []string {
		parts := strings.Split(proof[0], ".")
		for i := from; i < to; i++ {
			parts[i] = with
		}
		return []string{strings.Join(parts, ".")}
	}
	d := base64.RawURLEncoding.EncodeToString(must(k.Private.(*ecdsa.PrivateKey).Bytes()))
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallKey := &dpoptest.Key{Alg: "RS256", Private: small, Now: fixedClock}
	for name, tt := range map[string]struct {
		proofs []string
		reason reasons.Reason
	}{
		"none":          {nil, reasons.DPoPProofMissing},
		"two":           {append(good(), good()...), reasons.DPoPProofRepeated},
		"the same two":  {[]string{good()[0], good()[0]}, reasons.DPoPProofRepeated},
		"joined":        {[]string{good()[0] + "," + good()[0]}, reasons.DPoPProofMalformed},
		"joined, space": {[]string{good()[0] + ", " + good()[0]}, reasons.DPoPProofMalformed},
		"empty":         {[]string{""}, reasons.DPoPProofMalformed},
		"no JWT":        {[]string{"this-is-not-a-jwt"}, reasons.DPoPProofMalformed},
		"long":          {good(dpoptest.Claim("x", strings.Repeat("a", 4096))), reasons.DPoPProofMalformed},
		"huge jwk":      {good(dpoptest.InKey("x5c", []string{strings.Repeat("A", 64<<10)})), reasons.DPoPProofMalformed},
		"two parts":     {[]string{strings.Join(strings.Split(good()[0], ".")[:2], ".")}, reasons.DPoPProofMalformed},
		"four parts":    {[]string{good()[0] + ".e30"}, reasons.DPoPProofMalformed},
		"JWE":           {[]string{good()[0] + ".e30.e30"}, reasons.DPoPProofMalformed},
		"padding":       {[]string{good()[0] + "=="}, reasons.DPoPProofMalformed},
		"line break":    {[]string{good()[0] + "\n"}, reasons.DPoPProofMalformed},
		"space":         {[]string{" " + good()[0]}, reasons.DPoPProofMalformed},
		"no payload":    {changed(good(), 1, 2, ""), reasons.DPoPProofMalformed},
		"no signature":  {changed(good(), 2, 3, ""), reasons.DPoPProofMalformed},
		"nested":        {[]string{k.Sign(string(mustDecode(strings.Split(good()[0], ".")[0])), good()[0])}, reasons.DPoPProofMalformed},
		"claims twice":  {[]string{k.Sign(string(mustDecode(strings.Split(good()[0], ".")[0])), `{"jti":"a","htm":"POST","htm":"GET","htu":"`+here+`","iat":1800000000}`)}, reasons.DPoPProofMalformed},
		"after claims":  {[]string{k.Sign(string(mustDecode(strings.Split(good()[0], ".")[0])), string(mustDecode(strings.Split(good()[0], ".")[1]))+"{}")}, reasons.DPoPProofMalformed},
		"cut claims":    {[]string{k.Sign(string(mustDecode(strings.Split(good()[0], ".")[0])), strings.TrimSuffix(string(mustDecode(strings.Split(good()[0], ".")[1])), "}"))}, reasons.DPoPProofMalformed},
		"no UTF-8":      {good(dpoptest.Claim("x", json.RawMessage("\"\xff\""))), reasons.DPoPProofMalformed},
		"many claims":   {good(manyClaims(maxClaims)...), reasons.DPoPProofMalformed},
		"exp of text":   {good(dpoptest.Claim("exp", "1800000060")), reasons.DPoPProofMalformed},
		"nbf of zero":   {good(dpoptest.Claim("nbf", 0)), reasons.DPoPProofMalformed},
		"crit":          {good(dpoptest.InHeader("crit", []string{"b64"}), dpoptest.InHeader("b64", false)), reasons.DPoPProofMalformed},

		"typ":             {good(dpoptest.InHeader("typ", "jwt")), reasons.DPoPProofType},
		"typ in capitals": {good(dpoptest.InHeader("typ", "DPOP+JWT")), reasons.DPoPProofType},
		"an access token": {good(dpoptest.InHeader("typ", "at+jwt")), reasons.DPoPProofType},
		"no typ":          {good(dpoptest.InHeader("typ", nil)), reasons.DPoPProofType},
		"typ of a number": {good(dpoptest.InHeader("typ", 7)), reasons.DPoPProofType},

		"alg none":       {good(dpoptest.InHeader("alg", "none")), reasons.DPoPProofAlgorithm},
		"alg nOnE":       {good(dpoptest.InHeader("alg", "nOnE")), reasons.DPoPProofAlgorithm},
		"alg HS256":      {hmacProof(k), reasons.DPoPProofAlgorithm},
		"alg ES512":      {good(dpoptest.InHeader("alg", "ES512")), reasons.DPoPProofAlgorithm},
		"no alg":         {good(dpoptest.InHeader("alg", nil)), reasons.DPoPProofAlgorithm},
		"alg of another": {good(dpoptest.InHeader("alg", "RS256")), reasons.DPoPProofKey},
		"other curve":    {good(dpoptest.InHeader("alg", "ES384")), reasons.DPoPProofKey},

		"no jwk":             {good(dpoptest.InHeader("jwk", nil)), reasons.DPoPProofKey},
		"jwk null":           {[]string{k.Sign(`{"typ":"dpop+jwt","alg":"ES256","jwk":null}`, "{}")}, reasons.DPoPProofKey},
		"jwk of text":        {good(dpoptest.InHeader("jwk", "key")), reasons.DPoPProofKey},
		"a set of keys":      {good(dpoptest.InHeader("jwk", map[string]any{"keys": []any{k.JWK()}})), reasons.DPoPProofKey},
		"private":            {good(dpoptest.InKey("d", d)), reasons.DPoPProofKey},
		"private, in case":   {good(dpoptest.InKey("D", d)), reasons.DPoPProofKey},
		"symmetric":          {good(dpoptest.InHeader("jwk", map[string]any{"kty": "oct", "k": "AAAA"})), reasons.DPoPProofKey},
		"both kinds":         {good(dpoptest.InKey("k", "AAAA")), reasons.DPoPProofKey},
		"not on the curve":   {good(dpoptest.InKey("x", k.JWK()["y"])), reasons.DPoPProofKey},
		"short coordinate":   {good(dpoptest.InKey("x", "AAAA")), reasons.DPoPProofKey},
		"for another alg":    {good(dpoptest.InKey("alg", "ES384")), reasons.DPoPProofKey},
		"small RSA key":      {[]string{smallKey.Proof("POST", here, dpoptest.Token(token))}, reasons.DPoPProofKey},
		"RSA exponent of 1":  {[]string{rsaKey.Proof("POST", here, dpoptest.Token(token), dpoptest.InKey("e", "AQ"))}, reasons.DPoPProofKey},
		"jwk twice":          {[]string{k.Sign(`{"typ":"dpop+jwt","alg":"ES256","jwk":{},"jwk":{}}`, "{}")}, reasons.DPoPProofMalformed},
		"jku in its place":   {good(dpoptest.InHeader("jwk", nil), dpoptest.InHeader("jku", "https://evil.example/keys")), reasons.DPoPProofKey},
		"another one's jwk":  {good(dpoptest.InHeader("jwk", other.JWK())), reasons.DPoPProofSignature},
		"tampered":           {changed(good(), 2, 3, strings.Repeat("A", 86)), reasons.DPoPProofSignature},
		"signature in ASN.1": {changed(good(), 2, 3, base64.RawURLEncoding.EncodeToString(must(k.Private.Sign(rand.Reader, tokenHash[:], nil)))), reasons.DPoPProofSignature},

		"no jti":           {good(dpoptest.Claim("jti", nil)), reasons.DPoPProofMalformed},
		"empty jti":        {good(dpoptest.Claim("jti", "")), reasons.DPoPProofMalformed},
		"long jti":         {good(dpoptest.Claim("jti", strings.Repeat("j", 257))), reasons.DPoPProofMalformed},
		"jti of a number":  {good(dpoptest.Claim("jti", 1)), reasons.DPoPProofMalformed},
		"no htm":           {good(dpoptest.Claim("htm", nil)), reasons.DPoPProofMalformed},
		"htm":              {good(dpoptest.Claim("htm", "GET")), reasons.DPoPProofMethod},
		"htm in lower":     {good(dpoptest.Claim("htm", "post")), reasons.DPoPProofMethod},
		"htm of a list":    {good(dpoptest.Claim("htm", []string{"POST"})), reasons.DPoPProofMalformed},
		"no htu":           {good(dpoptest.Claim("htu", nil)), reasons.DPoPProofMalformed},
		"htu":              {good(dpoptest.Claim("htu", "https://wrong.example.com/mcp")), reasons.DPoPProofURL},
		"no iat":           {good(dpoptest.Claim("iat", nil)), reasons.DPoPProofMalformed},
		"iat of text":      {good(dpoptest.Claim("iat", "1800000000")), reasons.DPoPProofMalformed},
		"iat of the moon":  {good(dpoptest.Claim("iat", 1e300)), reasons.DPoPProofMalformed},
		"iat below zero":   {good(dpoptest.Claim("iat", -1)), reasons.DPoPProofMalformed},
		"iat in the past":  {good(dpoptest.Claim("iat", start.Unix()-301)), reasons.DPoPProofTime},
		"iat ahead":        {good(dpoptest.Claim("iat", start.Unix()+301)), reasons.DPoPProofTime},
		"expired":          {good(dpoptest.Claim("exp", start.Unix()-300)), reasons.DPoPProofTime},
		"not yet valid":    {good(dpoptest.Claim("nbf", start.Unix()+301)), reasons.DPoPProofTime},
		"no ath":           {good(dpoptest.Claim("ath", nil)), reasons.DPoPProofToken},
		"another's ath":    {good(dpoptest.Token("another.token")), reasons.DPoPProofToken},
		"ath with padding": {good(dpoptest.Claim("ath", dpoptest.Hash(token)+"=")), reasons.DPoPProofToken},
		"ath of a number":  {good(dpoptest.Claim("ath", 1)), reasons.DPoPProofMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			v := New(nil, fixedClock)
			_, err := v.Verify(tt.proofs, request())
			if got := reasonOf(err); got != tt.reason {
				t.Errorf("%q, want %q", got, tt.reason)
			}
			if len(v.keys.by) != 0 {
				t.Error("the key of a proof that is refused is remembered")
			}
		})
	}
}

func manyClaims(n int) (changes []dpoptest.Change) {
	for i := range n {
		changes = append(changes, dpoptest.Claim(fmt.Sprint("c", i), i))
	}
	return changes
}

// The window is of whole seconds, whatever part of one has passed.
func TestWindow(t *testing.T) {
	k := clientKey("ES256")
	v := New(nil, func() time.Time { return start.Add(900 * time.Millisecond) })
	for at, want := range map[int64]reasons.Reason{-301: reasons.DPoPProofTime, -300: "", 300: "", 301: reasons.DPoPProofTime} {
		_, err := v.Verify([]string{k.Proof("POST", here, dpoptest.Token(token), dpoptest.Claim("iat", start.Unix()+at))}, request())
		if got := reasonOf(err); got != want {
			t.Errorf("iat %+d s: %q, want %q", at, got, want)
		}
	}
}

func TestTolerated(t *testing.T) {
	k := clientKey("ES256")
	for name, change := range map[string]dpoptest.Change{
		"a digest":            dpoptest.Claim("content_digest", map[string]any{"sha-256": "x"}),
		"other header":        dpoptest.InHeader("kid", "1"),
		"what WebCrypto adds": dpoptest.InKey("key_ops", []string{"verify"}),
		"alg in the key":      dpoptest.InKey("alg", "ES256"),
		"iat at the end":      dpoptest.Claim("iat", start.Unix()-300),
		"iat at the start":    dpoptest.Claim("iat", start.Unix()+300),
		"iat with a fraction": dpoptest.Claim("iat", float64(start.Unix())+0.5),
		"exp":                 dpoptest.Claim("exp", start.Unix()+60),
		"the longest jti":     dpoptest.Claim("jti", strings.Repeat("j", maxID)),
		"nonce not asked for": dpoptest.Claim("nonce", "anything"),
	} {
		if _, err := New(nil, fixedClock).Verify([]string{k.Proof("POST", here, dpoptest.Token(token), change)}, request()); err != nil {
			t.Errorf("%s: %s", name, reasonOf(err))
		}
	}
	// At the authorization server there is no token, and an ath says nothing.
	for _, changes := range [][]dpoptest.Change{nil, {dpoptest.Token("x")}} {
		r := Request{Method: "POST", Origin: origin, Path: "/token"}
		if _, err := New(nil, fixedClock).Verify([]string{k.Proof("POST", origin+"/token", changes...)}, r); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestSameURL(t *testing.T) {
	for _, tt := range []struct {
		htu, origin, path string
		same              bool
	}{
		{"https://mcp.example.com/mcp", origin, "/mcp", true},
		{"https://mcp.example.com/mcp?a=b", origin, "/mcp", true},
		{"https://mcp.example.com/mcp#a", origin, "/mcp", true},
		{"https://mcp.example.com/mcp?a#b", origin, "/mcp", true},
		{"HTTPS://MCP.Example.com:443/mcp", origin, "/mcp", true},
		{"https://mcp.example.com./mcp", origin, "/mcp", true},
		{"https://mcp.example.com", origin, "/", true},
		{"https://mcp.example.com?x", origin, "/", true},
		{"https://mcp.example.com/", origin, "", true},
		{"https://mcp.example.com/a/./b/../../mcp", origin, "/mcp", true},
		{"https://mcp.example.com/%6dcp", origin, "/mcp", true},
		{"https://mcp.example.com/mcp/%c3%a4", origin, "/mcp/%C3%A4", true},
		{"https://mcp.example.com/mcp/..", origin, "/", true},
		{"http://localhost:8080/mcp", "http://localhost:8080", "/mcp", true},
		{"http://localhost:80/mcp", "http://localhost", "/mcp", true},
		{"https://[::1]:8443/mcp", "https://[::1]:8443", "/mcp", true},

		{"https://mcp.example.com/mcp/", origin, "/mcp", false},
		{"https://mcp.example.com/MCP", origin, "/mcp", false},
		{"https://mcp.example.com/other", origin, "/mcp", false},
		{"https://mcp.example.com/mcp%2f", origin, "/mcp/", false},
		{"https://mcp.example.com//mcp", origin, "/mcp", false},
		{"http://mcp.example.com/mcp", origin, "/mcp", false},
		{"https://mcp.example.com:8443/mcp", origin, "/mcp", false},
		{"https://mcp.example.com.evil.example/mcp", origin, "/mcp", false},
		{"https://user@mcp.example.com/mcp", origin, "/mcp", false},
		{"https://mcp.example.com\\@evil/mcp", origin, "/mcp", false},
		{"//mcp.example.com/mcp", origin, "/mcp", false},
		{"/mcp", origin, "/mcp", false},
		{"mcp.example.com/mcp", origin, "/mcp", false},
		{"https:mcp.example.com/mcp", origin, "/mcp", false},
		{"ftp://mcp.example.com/mcp", origin, "/mcp", false},
		{"https://mcp.example.com/mcp ", origin, "/mcp", false},
		{"https://mcp.example.com/%", origin, "/%", true}, // as it is sent
		{"https://mcp.example.com/%zz", origin, "/mcp", false},
		{"https://mcp.example.com/" + strings.Repeat("a", 2048), origin, "/mcp", false},
		{"", origin, "/mcp", false},
	} {
		if got := sameURL(tt.htu, tt.origin, tt.path); got != tt.same {
			t.Errorf("%q at %q %q: %v", tt.htu, tt.origin, tt.path, got)
		}
	}
}

func TestNonces(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	keys, err := seal.NewKeyring(clock, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := seal.NewKeyring(clock, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	const lifetime = 2 * time.Minute
	v := New(NewNonces(keys, lifetime, clock), clock)
	k := clientKey("ES256")
	k.Now = clock
	verify := func(nonce string) (Proof, error) {
		k.Nonce = nonce
		return v.Verify([]string{k.Proof("POST", here, dpoptest.Token(token))}, request())
	}
	nonce := v.Nonce(origin)
	if again := v.Nonce(origin); again != nonce || nonce == "" {
		t.Errorf("nonces %q and %q", nonce, again)
	}
	for name, wrong := range map[string]string{
		"none": "", "forged": "forged", "cut": nonce[:len(nonce)-1], "of another host": v.Nonce("https://other.example.com"),
		"of another service": NewNonces(stranger, lifetime, clock).Issue(origin), "huge": strings.Repeat("n", 2000),
	} {
		if _, err := verify(wrong); reasonOf(err) != reasons.DPoPNonceNeeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := verify(nonce); err != nil || p.NextNonce != "" {
		t.Errorf("a fresh nonce: %+v, %v", p, err)
	}
	replica := New(NewNonces(keys, lifetime, clock), clock)
	if _, err := replica.Verify([]string{k.Proof("POST", here, dpoptest.Token(token))}, request()); err != nil {
		t.Errorf("another replica: %v", err)
	}
	now = start.Add(lifetime/2 + time.Second)
	p, err := verify(nonce)
	if err != nil || p.NextNonce == "" || p.NextNonce == nonce {
		t.Errorf("an old nonce: %+v, %v", p, err)
	}
	now = start.Add(lifetime)
	if _, err := verify(nonce); reasonOf(err) != reasons.DPoPNonceNeeded {
		t.Errorf("an expired nonce: %v", err)
	}
	if p, err := verify(p.NextNonce); err != nil {
		t.Errorf("the next nonce: %+v, %v", p, err)
	}
}

func TestMemory(t *testing.T) {
	now := start
	m := NewMemory(1000, func() time.Time { return now })
	proof := func(id string, at time.Time) *Proof { return &Proof{ID: idOf("", id), Expires: at.Add(Window)} }
	if p := proof("a", start); !m.First(p) || m.First(p) {
		t.Error("a proof is first once")
	}
	// As long as a proof is accepted it is remembered.
	for _, at := range []time.Time{start.Add(-Window), start, start.Add(Window)} {
		now = start
		p := proof("at "+at.String(), at)
		if !m.First(p) {
			t.Fatal("not first")
		}
		for ; !now.After(p.Expires); now = now.Add(10 * time.Second) {
			if m.First(p) {
				t.Fatalf("forgotten %s after %s", now.Sub(start), at)
			}
		}
	}
	now = start.Add(2 * time.Hour)
	if m.First(proof("b", now)); m.Len() != 1 {
		t.Errorf("%d are held after all but one expired", m.Len())
	}
	var first atomic.Int32
	var all sync.WaitGroup
	replayed := proof("c", now)
	for range 500 {
		all.Go(func() {
			if m.First(replayed) {
				first.Add(1)
			}
		})
	}
	all.Wait()
	if first.Load() != 1 {
		t.Errorf("%d of 500 parallel uses were first", first.Load())
	}
	for i := range 20_000 {
		m.First(proof(string(rune(i)), now.Add(time.Duration(i%600)*time.Second)))
	}
	if m.Len() > 1000 {
		t.Errorf("%d are held", m.Len())
	}
	held := 0
	for _, proofs := range m.buckets {
		held += len(proofs)
	}
	if held != m.Len() {
		t.Errorf("%d are held, and %d are counted", held, m.Len())
	}
}

// Where there is room nothing is forgotten, and where there is none what expires first.
func TestMemoryForgetsTheOldest(t *testing.T) {
	m := NewMemory(3, func() time.Time { return start })
	proof := func(i int) *Proof {
		return &Proof{ID: idOf("", fmt.Sprint(i)), Expires: start.Add(time.Duration(i) * time.Minute)}
	}
	for _, i := range []int{2, 1, 3} {
		if !m.First(proof(i)) {
			t.Fatalf("proof %d is not first", i)
		}
	}
	for _, i := range []int{1, 2, 3} {
		if m.First(proof(i)) {
			t.Errorf("proof %d was forgotten", i)
		}
	}
	if !m.First(proof(4)) || m.Len() != 3 {
		t.Errorf("%d are held", m.Len())
	}
	for _, i := range []int{2, 3, 4} {
		if m.First(proof(i)) {
			t.Errorf("proof %d was forgotten in the place of proof 1", i)
		}
	}
}

// A key is read once, and then the header finds it.
func TestKeysAreRemembered(t *testing.T) {
	v, k := New(nil, fixedClock), clientKey("ES256")
	proof := k.Proof("POST", here, dpoptest.Token(token))
	if _, err := v.Verify([]string{proof}, request()); err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(proof, ".")
	first, known, err := v.keys.of(header)
	again, _, _ := v.keys.of(header)
	if err != nil || !known || first != again {
		t.Errorf("known: %v, %v", known, err)
	}
}

func TestKeysAreBounded(t *testing.T) {
	var k keys
	for i := range 2 * maxKeys {
		k.remember(string(rune(i)), &key{})
	}
	if len(k.by) != maxKeys {
		t.Errorf("%d keys", len(k.by))
	}
}

// No header, payload or signature makes the verifier panic, and what it accepts is
// what it was asked about.
func FuzzVerify(f *testing.F) {
	k := clientKey("Ed25519")
	for _, seed := range []string{
		k.Proof("POST", here, dpoptest.Token(token)), "..", "e30.e30.e30", k.Proof("POST", here), k.Proof("GET", here+"?x", dpoptest.InHeader("crit", []int{1})),
	} {
		f.Add(seed)
	}
	v := New(nil, fixedClock)
	f.Fuzz(func(t *testing.T, proof string) {
		p, err := v.Verify([]string{proof}, request())
		if err != nil && reasonOf(err) == "" {
			t.Errorf("%q: %v", proof, err)
		}
		if err == nil && len(p.Thumbprint) != 43 {
			t.Errorf("%q: %+v", proof, p)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func mustDecode(s string) []byte { return must(base64.RawURLEncoding.DecodeString(s)) }

// hmacProof is signed with the public key for a secret.
func hmacProof(k *dpoptest.Key) []string {
	parts := strings.Split(k.Proof("POST", here, dpoptest.Token(token), dpoptest.InHeader("alg", "HS256")), ".")
	mac := hmac.New(sha256.New, []byte(k.JWK()["x"].(string)))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	return []string{parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))}
}

func BenchmarkVerify(b *testing.B) {
	k := clientKey("ES256")
	v := New(nil, fixedClock)
	proof := []string{k.Proof("POST", here, dpoptest.Token(token))}
	b.Run("a key seen before", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(proof, request()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("a new key", func(b *testing.B) {
		for b.Loop() {
			if _, err := New(nil, fixedClock).Verify(proof, request()); err != nil {
				b.Fatal(err)
			}
		}
	})
	parts := strings.Split(proof[0], ".")
	sig, signed := mustDecode(parts[2]), parts[0]+"."+parts[1]
	es256 := algorithms[0]
	b.Run("bare ES256", func(b *testing.B) {
		for b.Loop() {
			if !es256.verify(k.Private.Public(), signed, sig) {
				b.Fatal()
			}
		}
	})
}
