# frozen_string_literal: true

module Lamplighter
  # One invocation, as the Runtime API gave it.
  class Invocation
    def initialize(headers, body)
      @headers = headers
      @body = body
    end

    def request_id = @headers["lambda-runtime-aws-request-id"]
    def deadline_ms = @headers["lambda-runtime-deadline-ms"].to_i
    def function_arn = @headers["lambda-runtime-invoked-function-arn"]
    def trace_id = @headers["lambda-runtime-trace-id"]
    def client_context = parsed("lambda-runtime-client-context")
    def identity = parsed("lambda-runtime-cognito-identity")
    def event = JSON.parse(@body.force_encoding(Encoding::UTF_8))

    private

    def parsed(name)
      @headers[name] && JSON.parse(@headers[name])
    end
  end

  # The Runtime API over one connection, which is kept. No HTTP library: loading Ruby's takes longer than all of this.
  class RuntimeApi
    ROOT = "/2018-06-01/runtime"

    def initialize(address)
      @address = address
      @host, @port = address.split(":")
      @connection = nil
    end

    def next
      status, headers, body = ask("GET", "#{ROOT}/invocation/next")
      raise "GET next was answered with #{status}" unless status == 200

      Invocation.new(headers, body)
    end

    def response(id, body, type)
      status, _, answer = ask("POST", "#{ROOT}/invocation/#{id}/response", body, "Content-Type" => type)
      return if status == 202
      # Too large, for one: the caller is told so in place of the answer.
      raise "the response was not taken: #{answer}" unless status == 413
    end

    def error(id, fault)
      failed("#{ROOT}/invocation/#{id}/error", fault)
    end

    def init_error(fault)
      failed("#{ROOT}/init/error", fault)
    end

    private

    def failed(path, fault)
      headers = { "Content-Type" => "application/json", "Lambda-Runtime-Function-Error-Type" => fault.type,
                  "Lambda-Runtime-Function-XRay-Error-Cause" => fault.cause }
      ask("POST", path, JSON.generate(fault.response), headers.compact)
    end

    def ask(verb, path, body = nil, headers = {})
      again = !@connection.nil?
      begin
        send_out(verb, path, body, headers)
        read_answer
      rescue EOFError, Errno::EPIPE, Errno::ECONNRESET
        @connection = nil
        raise unless again # a kept connection may have been closed meanwhile

        again = false
        retry
      end
    end

    def send_out(verb, path, body, headers)
      @connection ||= TCPSocket.new(@host, @port.to_i).tap { |made| made.setsockopt(:TCP, :NODELAY, 1) }
      head = +"#{verb} #{path} HTTP/1.1\r\nHost: #{@address}\r\n"
      headers = headers.merge("Content-Length" => body.bytesize) if body
      headers.each { |name, value| head << "#{name}: #{value}\r\n" }
      @connection.write((head << "\r\n").b, body.to_s.b)
    end

    def read_answer
      status = line.split(" ", 3)[1].to_i
      headers = {}
      until (one = line).empty?
        name, value = one.split(":", 2)
        headers[name.downcase] = value.strip.force_encoding(Encoding::UTF_8)
      end
      body = headers["transfer-encoding"] == "chunked" ? chunks : exactly(headers["content-length"].to_i)
      [status, headers, body]
    end

    def line
      (@connection.gets("\r\n") || raise(EOFError)).chomp("\r\n")
    end

    def exactly(size)
      body = size.zero? ? +"" : @connection.read(size)
      body && body.bytesize == size ? body : raise(EOFError)
    end

    def chunks
      body = +"".b
      until (size = line.to_i(16)).zero?
        body << exactly(size)
        line
      end
      line until line.empty?
      body
    end
  end
end
