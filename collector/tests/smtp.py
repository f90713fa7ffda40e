# A real SMTP server for the tests: prints its port, then each message as one line of JSON.
import email, email.policy, json, time
from aiosmtpd.controller import Controller


class Printer:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        headers = {name: str(value) for name, value in message.items()}
        print(json.dumps({"to": envelope.rcpt_tos, "headers": headers, "text": message.get_content()}), flush=True)
        return "250 OK"


import socket

free = socket.socket()
free.bind(("127.0.0.1", 0))
port = free.getsockname()[1]
free.close()
controller = Controller(Printer(), hostname="127.0.0.1", port=port)
controller.start()
print(port, flush=True)
while True:
    time.sleep(3600)
