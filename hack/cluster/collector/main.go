// Command collector stands in for kiwigrid/k8s-sidecar where its image cannot be
// had. It reads as much of that program's environment as the chart sets, and asks
// the API server as it does: with the token of the pod's ServiceAccount, for the
// ConfigMaps with a label. It knows the method SLEEP alone, once a second.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

type configMaps struct {
	Items []struct {
		Metadata struct{ Name, Namespace string }
		Data     map[string]string
	}
}

func main() {
	log.SetFlags(0)
	client, err := kubernetes()
	if err != nil {
		log.Fatal(err)
	}
	written, err := gather(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	go serveHealth()
	for {
		time.Sleep(time.Second)
		now, err := gather(client, written)
		if err != nil {
			log.Print(err)
			continue
		}
		written = now
	}
}

func serveHealth() {
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("HEALTH_PORT"), nil))
}

// kubernetes trusts the cluster's authority and goes through no proxy.
func kubernetes() (*http.Client, error) {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%sca.crt has no certificate", account)
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
}

// gather writes what there is, and removes of before what is no more.
func gather(client *http.Client, before map[string]string) (map[string]string, error) {
	files := map[string]string{}
	for namespace := range strings.SplitSeq(os.Getenv("NAMESPACE"), ",") {
		path := "/api/v1/namespaces/" + namespace + "/configmaps"
		if namespace == "ALL" {
			path = "/api/v1/configmaps"
		}
		list, err := list(client, path)
		if err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			for key, text := range item.Data {
				files["namespace_"+item.Metadata.Namespace+".configmap_"+item.Metadata.Name+"."+key] = text
			}
		}
	}
	folder := os.Getenv("FOLDER")
	for name, text := range files {
		if old, ok := before[name]; !ok || old != text {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
	}
	for name := range before {
		if _, ok := files[name]; !ok {
			if err := os.Remove(filepath.Join(folder, name)); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func list(client *http.Client, path string) (list configMaps, err error) {
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return list, err
	}
	label := os.Getenv("LABEL")
	if value := os.Getenv("LABEL_VALUE"); value != "" {
		label += "=" + value
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	req, err := http.NewRequest(http.MethodGet, "https://"+host+path+"?labelSelector="+url.QueryEscape(label), nil)
	if err != nil {
		return list, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := client.Do(req)
	if err != nil {
		return list, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return list, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return list, json.NewDecoder(resp.Body).Decode(&list)
}
