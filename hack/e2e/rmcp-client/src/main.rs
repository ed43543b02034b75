//! A client on rmcp, the Rust SDK, which signs in when the server says so.
//!
//!   PERSON=URL rmcp-client URL
//!
//! It calls the tool of each line of its input, and prints a line of JSON for each: the
//! text that the tool answered, or the error. The person at PERSON signs in.

use std::error::Error;

use rmcp::{
    RoleClient, ServiceExt,
    model::CallToolRequestParams,
    service::RunningService,
    transport::{
        StreamableHttpClientTransport,
        auth::{AuthClient, AuthorizationManager, AuthorizationRequest, OAuthState},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::io::{AsyncBufReadExt, BufReader};

const REDIRECT: &str = "http://127.0.0.1:33418/callback";

/// Sign-ins that one call may take.
const SIGN_INS: usize = 2;

/// What failed, and the challenge that came with it.
struct Failure {
    error: Box<dyn Error>,
    challenge: Option<String>,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure { error: Box::new(error), challenge: None }
    }
}

struct Client {
    target: String,
    person: String,
    http: AuthClient<reqwest::Client>,
    service: Option<RunningService<RoleClient, ()>>,
}

impl Client {
    async fn new(target: String, person: String) -> Result<Self, Failure> {
        let manager = AuthorizationManager::new(target.as_str()).await?;
        Ok(Client { target, person, http: AuthClient::new(reqwest::Client::new(), manager), service: None })
    }

    /// Calls a tool, and signs in for each challenge, as often as one call may take.
    async fn call(&mut self, tool: &str) -> Result<String, Failure> {
        for _ in 0..SIGN_INS {
            match self.attempt(tool).await {
                Err(Failure { challenge: Some(challenge), .. }) => self.sign_in(challenge).await?,
                result => return result,
            }
        }
        self.attempt(tool).await
    }

    /// Calls a tool, over a new connection if there is none or the last one failed.
    async fn attempt(&mut self, tool: &str) -> Result<String, Failure> {
        let service = match self.service.take() {
            Some(service) => service,
            None => {
                let config = StreamableHttpClientTransportConfig::with_uri(self.target.as_str());
                let transport = StreamableHttpClientTransport::with_client(self.http.clone(), config);
                ().serve(transport).await.map_err(|error| Failure {
                    challenge: error.auth_challenge().map(str::to_owned),
                    error: Box::new(error),
                })?
            }
        };
        let result = service.call_tool(CallToolRequestParams::new(tool.to_owned())).await.map_err(|error| Failure {
            challenge: error.auth_challenge().map(str::to_owned),
            error: Box::new(error),
        })?;
        self.service = Some(service);
        let text = serde_json::to_string(&result.content)?;
        match result.is_error {
            Some(true) => Err(Failure { error: text.into(), challenge: None }),
            _ => Ok(text),
        }
    }

    async fn sign_in(&mut self, challenge: String) -> Result<(), Failure> {
        let mut state = OAuthState::new(self.target.as_str(), None).await?;
        let request = AuthorizationRequest::new(REDIRECT).with_client_name("End-to-end client").with_challenge(challenge);
        state.start_authorization(request).await?;
        let answer = reqwest::Client::new().post(&self.person).body(state.get_authorization_url().await?).send().await?;
        let answer = answer.error_for_status()?.text().await?;
        state.handle_callback_url(&format!("{REDIRECT}?{answer}")).await?;
        if let Some(manager) = state.into_authorization_manager() {
            self.http = AuthClient::new(reqwest::Client::new(), manager);
        }
        Ok(())
    }
}

/// The text of an error and of its causes.
fn told(failure: &Failure) -> String {
    let mut text = failure.error.to_string();
    let mut cause = failure.error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: PERSON=URL rmcp-client URL")?;
    let mut client = Client::new(target, std::env::var("PERSON")?).await.map_err(|failure| failure.error)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(tool) = lines.next_line().await? {
        match client.call(&tool).await {
            Ok(text) => println!("{}", serde_json::json!({ "text": text })),
            Err(failure) => println!("{}", serde_json::json!({ "error": told(&failure) })),
        }
    }
    Ok(())
}
