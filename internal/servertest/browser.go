package servertest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// Do sends a request for a public URL to the service, as a gateway that ends
// TLS would: whatever the host, the service gets it in the Host header.
// Redirects are not followed.
func (s *Service) Do(req *http.Request) (*http.Response, error) { return s.client().Do(req) }

// Client is an HTTP client whose every request ends at the service. For library
// code that wants one.
func (s *Service) Client() *http.Client { return s.client() }

func (s *Service) client() *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     toService{s},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Address is where the protocol listener is, for tests below HTTP.
func (s *Service) Address() string { return s.process().protocol }

// Management returns the answer of the management listener.
func (s *Service) Management(t testing.TB, path string) (status int, body string) {
	t.Helper()
	resp, err := http.Get("http://" + s.process().management + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (s *Service) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.t.Fatal("the service is stopped")
	}
	return s.live
}

// transport is shared so that connections are kept; each service has its own address.
var transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}

type toService struct{ s *Service }

func (t toService) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	if out.Host == "" {
		out.Host = req.URL.Host
	}
	out.URL.Scheme, out.URL.Host = "http", t.s.process().protocol
	resp, err := transport.RoundTrip(out)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// Browser is one person's browser: cookies by host, the headers that browsers
// add to forms, and what the person types. Hosts of the service are reached
// through it, everything else (the fake identity provider) on the network.
type Browser struct {
	Service            *Service
	Username, Password string
	// Keep says which scopes stay ticked on the consent page; nil keeps all.
	Keep func(scope string) bool
	// Provider is the id of what the person chooses where there are several.
	Provider string

	jar *jar
}

// NewBrowser returns a browser without cookies, of a person who knows the default password.
func (s *Service) NewBrowser() *Browser {
	return &Browser{Service: s, Username: Username, Password: Password, jar: &jar{}}
}

// On returns the same browser, cookies and all, when its requests reach another replica.
func (b *Browser) On(s *Service) *Browser {
	other := *b
	other.Service = s
	return &other
}

// Cookies returns the cookies that the browser sends to a host.
func (b *Browser) Cookies(host string) []*http.Cookie { return b.jar.of(host) }

// SetCookie puts a cookie into the browser, as an attacker next door might.
func (b *Browser) SetCookie(host string, c *http.Cookie) { b.jar.store(host, []*http.Cookie{c}) }

// Page is where a browser stands after one request.
type Page struct {
	URL    *url.URL
	Status int
	Header http.Header
	Body   string
	// Form is the page's first form, nil if it has none.
	Form *Form
	// Links are the targets of its links.
	Links []string
}

// Form is a form with its fields as the page set them.
type Form struct {
	Action, Method string
	Values         url.Values // of the controls that a browser would send, without buttons
	Offered        []string   // values of the scope boxes, ticked or not
	Choices        []string   // values of the buttons that choose a provider, in their order
}

// Location returns where the page redirects to, "" if it does not.
func (p *Page) Location() string { return p.Header.Get("Location") }

// Text is what a person reads.
func (p *Page) Text() string {
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return p.Body
	}
	var words []string
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" && n.Parent.Data != "title" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}

// Open gets one address and follows nothing.
func (b *Browser) Open(t testing.TB, address string) *Page {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site") // it comes from the client
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	return b.Send(t, req)
}

// Post sends values to address as a form of the address's own origin would.
func (b *Browser) Post(t testing.TB, address string, values url.Values) *Page {
	t.Helper()
	return b.Send(t, b.FormRequest(t, address, values))
}

// FormRequest is the request of Post, to be changed before it is sent.
func (b *Browser) FormRequest(t testing.TB, address string, values url.Values) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	return req
}

// Submit presses a button of the page's form; name "" is a form's only button.
func (b *Browser) Submit(t testing.TB, p *Page, name, value string) *Page {
	t.Helper()
	address, values := p.filled(t, b, name, value)
	return b.Post(t, address, values)
}

func (p *Page) filled(t testing.TB, b *Browser, name, value string) (string, url.Values) {
	t.Helper()
	if p.Form == nil {
		t.Fatalf("no form on %s (%d): %s", p.URL, p.Status, p.Text())
	}
	values := url.Values{}
	for k, vs := range p.Form.Values {
		values[k] = slices.Clone(vs)
	}
	if len(p.Form.Offered) > 0 && b.Keep != nil {
		delete(values, "scope")
		for _, scope := range p.Form.Offered {
			if b.Keep(scope) {
				values.Add("scope", scope)
			}
		}
	}
	if values.Has("password") {
		values.Set("username", b.Username)
		values.Set("password", b.Password)
	}
	if name != "" {
		values.Set(name, value)
	}
	action, err := p.URL.Parse(p.Form.Action)
	if err != nil {
		t.Fatal(err)
	}
	return action.String(), values
}

// Send sends any request with the browser's cookies and keeps those that come back.
func (b *Browser) Send(t testing.TB, req *http.Request) *Page {
	t.Helper()
	page, err := b.TrySend(req)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// TrySend is Send for other goroutines than the test's.
func (b *Browser) TrySend(req *http.Request) (*Page, error) {
	for _, c := range b.jar.of(req.URL.Host) {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	client := b.Service.client()
	if !b.Service.serves(req.URL.Host) {
		client.Transport = nil
		if c := b.Service.http; c != nil {
			client.Transport = c.Transport
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	b.jar.store(req.URL.Host, resp.Cookies())
	page := &Page{URL: req.URL, Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		page.read()
	}
	return page, nil
}

func (s *Service) serves(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.CallbackHost.Host == host {
		return true
	}
	for _, h := range s.config.Hosts {
		if h.Host == host {
			return true
		}
	}
	return false
}

// Consent walks from an authorization URL to the consent page.
func (b *Browser) Consent(t testing.TB, address string) *Page {
	t.Helper()
	page := b.Open(t, address)
	if page.Status != http.StatusOK || page.Form == nil || page.Form.Values.Get("request") == "" {
		t.Fatalf("no consent page: %d %s %s", page.Status, page.Location(), page.Text())
	}
	return page
}

// Walk goes on from page, saying yes everywhere, until the browser is sent to
// an address that begins with until, and returns that address. Of a page that says why
// there is no sign-in it takes the way back to the client. Another page with nothing to
// say yes to ends the test.
func (b *Browser) Walk(t testing.TB, page *Page, until string) *url.URL {
	t.Helper()
	for range 15 {
		if to := page.Location(); to != "" {
			next, err := page.URL.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(to, until) {
				return next
			}
			page = b.Open(t, next.String())
			continue
		}
		if back := slices.IndexFunc(page.Links, func(l string) bool { return strings.HasPrefix(l, until) }); page.Status >= 400 && back >= 0 {
			next, err := url.Parse(page.Links[back])
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		if page.Form == nil || page.Status >= 400 {
			t.Fatalf("the walk ended at %s with %d: %s", page.URL, page.Status, page.Text())
		}
		switch {
		case page.Form.Values.Has("request"):
			page = b.Submit(t, page, "decision", "allow")
		case page.Form.Choices != nil:
			page = b.Submit(t, page, "choice", b.Provider)
		default:
			page = b.Submit(t, page, "", "")
		}
	}
	t.Fatal("the walk does not end")
	return nil
}

// read finds the form and the links of a page.
func (p *Page) read() {
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return
	}
	for n := range doc.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "a":
			p.Links = append(p.Links, attr(n, "href"))
		case n.Data == "form" && p.Form == nil:
			p.Form = &Form{Action: attr(n, "action"), Method: attr(n, "method"), Values: url.Values{}}
			for c := range n.Descendants() {
				switch {
				case c.Type != html.ElementNode:
				case c.Data == "input":
					p.Form.add(c)
				case c.Data == "button" && attr(c, "name") == "choice":
					p.Form.Choices = append(p.Form.Choices, attr(c, "value"))
				}
			}
		}
	}
}

func (f *Form) add(input *html.Node) {
	name, value := attr(input, "name"), attr(input, "value")
	if attr(input, "type") != "checkbox" {
		f.Values.Add(name, value)
		return
	}
	f.Offered = append(f.Offered, value)
	if slices.ContainsFunc(input.Attr, func(a html.Attribute) bool { return a.Key == "checked" }) {
		f.Values.Add(name, value)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// jar keeps cookies by host and path "/", which is all the service uses.
type jar struct {
	mu      sync.Mutex
	cookies map[string][]*http.Cookie
}

func (j *jar) of(host string) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.cookies[host])
}

func (j *jar) store(host string, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cookies == nil {
		j.cookies = map[string][]*http.Cookie{}
	}
	for _, c := range cookies {
		kept := slices.DeleteFunc(slices.Clone(j.cookies[host]), func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			kept = append(kept, c)
		}
		j.cookies[host] = kept
	}
}

// ManagementAddress is where the management listener is.
func (s *Service) ManagementAddress() string { return s.process().management }
