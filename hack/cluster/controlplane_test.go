package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// cluster is a control plane, and a node once a test asks for it.
type cluster struct {
	dir        string
	address    string // of the API server
	kubeconfig string
	processes  []*process
	gateways   map[string]*process // nginx, by address
	known      []string            // kinds of objects, once asked
	hasNode    bool
}

// nodeIP is the address of the node inside its network namespace.
const nodeIP = "10.99.0.1"

func startControlPlane(dir string) (*cluster, error) {
	c := &cluster{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig"), gateways: map[string]*process{}}
	if err := c.controlPlane(); err != nil {
		c.stop()
		return nil, err
	}
	say("etcd, API server, controller manager and scheduler are ready")
	return c, nil
}

func (c *cluster) controlPlane() error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	bind, ip, more := "127.0.0.1", "127.0.0.1", []string{"--endpoint-reconciler-type=none"} // it may not advertise a loopback address
	if noPods == "" {
		if err := private(c.dir); err != nil {
			return fmt.Errorf("namespaces: %w", err)
		}
		bind, ip, more = "0.0.0.0", nodeIP, []string{"--advertise-address=" + nodeIP, "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true"}
	}
	pki, etcd := filepath.Join(c.dir, "pki"), "http://127.0.0.1:"+ports[0]
	c.address = ip + ":" + ports[2]
	token, key := rand.Text(), filepath.Join(c.dir, "sa.key")
	for path, content := range map[string]string{
		filepath.Join(c.dir, "tokens.csv"): fmt.Sprintf("%s,admin,admin,\"system:masters\"\n", token),
		key:                                privateKey(),
		c.kubeconfig: fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %s/apiserver.crt}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
`, c.address, pki, token),
	} {
		if err := write(path, content); err != nil {
			return err
		}
	}
	peer := "http://127.0.0.1:" + ports[1]
	p, err := c.start("etcd", "--data-dir="+filepath.Join(c.dir, "etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--log-level=error")
	if err != nil {
		return err
	}
	if err := p.wait(etcd + "/health"); err != nil {
		return err
	}
	p, err = c.start("kube-apiserver", append(more, "--etcd-servers="+etcd, "--bind-address="+bind, "--secure-port="+ports[2], "--cert-dir="+pki,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--token-auth-file="+filepath.Join(c.dir, "tokens.csv"), "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24")...)
	if err != nil {
		return err
	}
	if err := p.wait("https://" + c.address + "/readyz"); err != nil {
		return err
	}
	if _, err = c.start("kube-controller-manager", "--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--service-account-private-key-file="+key,
		"--root-ca-file="+filepath.Join(pki, "apiserver.crt"), "--use-service-account-credentials=true", "--secure-port=0"); err != nil {
		return err
	}
	if _, err = c.start("kube-scheduler", "--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--secure-port=0"); err != nil {
		return err
	}
	// Pods are refused until their namespace has its ServiceAccount.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := c.output("", "kubectl", "-n", "default", "get", "serviceaccount", "default", "-o", "name")
		if err == nil && strings.Contains(out, "default") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the controller manager does nothing: %v\n%s", err, c.processes[2].out.last(2<<10))
		}
	}
}

// privateKey signs the tokens of ServiceAccounts.
func privateKey() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// freePorts returns n loopback ports that are free now.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}
