require_relative "../other"

def handler(event:, context:)
  OTHER + event["case"]
end
