# A real SMTP server for the tests: prints its port, then each message as one line of JSON. Its argument says how it is
# spoken with: in clear, by TLS from the first byte, or by STARTTLS, with server.pem and server.key of this directory.
import email, email.policy, json, socket, ssl, sys, time
from aiosmtpd.controller import Controller

how = sys.argv[1]


class Printer:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        headers = {name: str(value) for name, value in message.items()}
        tls = how == "always" or session.ssl is not None
        said = {"to": envelope.rcpt_tos, "headers": headers, "text": message.get_content(), "tls": tls}
        print(json.dumps(said), flush=True)
        return "250 OK"


options = {}
if how != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.pem", "server.key")
    options = {"ssl_context": context} if how == "always" else {"tls_context": context, "require_starttls": True}
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
controller = Controller(Printer(), hostname="127.0.0.1", port=port, **options)
controller.start()
print(port, flush=True)
while True:
    time.sleep(3600)
